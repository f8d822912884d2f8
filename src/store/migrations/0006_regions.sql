-- Rows of other regions than the home's: they stand where rows stood before, and a program that does not know of them would take them for damaged.
-- What is destroyed takes its tags with it, and finds them by this.
CREATE INDEX tags_of_a_key ON tags (key_id);
