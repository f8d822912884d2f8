-- What a multi-Region key is among its related keys, and how long the deletion of a primary waits after its last replica; null for every
-- other key, and so for all that there were before these columns.
ALTER TABLE keys ADD COLUMN role TEXT;
ALTER TABLE keys ADD COLUMN pending_window INTEGER;
