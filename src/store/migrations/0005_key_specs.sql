-- What kind of key it is and what it is used for; null for a symmetric key for encryption, the only kind before these columns.
ALTER TABLE keys ADD COLUMN spec TEXT;
ALTER TABLE keys ADD COLUMN usage TEXT;
