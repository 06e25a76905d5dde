"""Files and documents in Cloud Storage or beside it; nothing else imports `google.cloud`."""
