"""The cast routes. They read raw bodies themselves and are declared by hand in `openapi`; decision 0006 says why."""
