"""The page on which a person sees what changed and decides: rendered on the server, without scripts."""
