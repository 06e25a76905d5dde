"""The step that says what exactly the input is."""
