"""What users install: the SDK and the user's part of the `spell` program. HTTP only; imports nothing of the server."""
