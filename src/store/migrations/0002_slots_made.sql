-- When a slot was made, in milliseconds since 1970; not known of one that is older than this column.
ALTER TABLE slots ADD COLUMN made INTEGER;
