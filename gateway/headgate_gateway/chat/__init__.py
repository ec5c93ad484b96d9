"""Chat completions of the hub family, whole and streamed."""
