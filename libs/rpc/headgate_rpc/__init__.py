"""How anything is served and called: one builder for servers, one for clients, one error table."""
