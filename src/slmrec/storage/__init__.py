"""Files and documents in Cloud Storage, in object stores, or beside them; all that talks to any."""
