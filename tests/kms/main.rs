//! The key service through its one door, on a real home: every rule that the operations of this version are to obey, with the
//! errors and the messages of AWS KMS. A test that a rule asks for begins with the rule's name.

mod aliases;
mod audit;
mod clock;
mod crypto;
mod deletion;
mod expiry;
mod files;
mod fixture;
mod grants;
mod import;
mod instants;
mod kind_import;
mod kind_states;
mod kinds;
mod known_answers;
mod multi_region;
mod multi_region_import;
mod multi_region_life;
mod names;
mod pages;
mod peer;
mod policies;
mod requests;
mod rotation;
mod schedule;
mod states;
mod tags;
mod usage;
mod uses;
mod wrapping;
