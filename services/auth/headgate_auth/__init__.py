"""Accounts, API keys, and who a credential stands for."""
