//! New files (rule 10): made dirty in a way that permits appends, and as good as clean until there is one.

use kmsfs::envelope::ResizeKind;
use kmsfs::fs::Durability;
use kmsfs::fs::file::{CryptFile, Done};

use crate::memory::Memory;
use crate::{File, content};

const PAGE: usize = 4096;

fn this() -> File {
    File::new(1, Durability::Default)
}

fn page(memory: &Memory) -> Vec<u8> {
    memory.bytes(0, PAGE)
}

#[test]
fn a_file_that_nobody_wrote_to_is_left_as_it_was_made() {
    for durability in [Durability::Default, Durability::Strict] {
        let this = File::new(1, durability);
        let memory = this.empty();
        let made = page(&memory);
        for writable in [true, false, true] {
            let identity = CryptFile::identify(&memory).unwrap();
            let file = CryptFile::open(memory.clone(), &identity, &this.key, writable, durability).unwrap();
            assert_eq!((file.is_dirty(), file.is_new()), (false, durability == Durability::Default));
            assert!(content(&file).unwrap().is_empty());
            assert!(file.verify().unwrap().is_whole());
            file.commit_clean().unwrap();
        }
        assert!(this.repair(&memory).unwrap().done.is_empty());
        assert!(page(&memory) == made && memory.size() == PAGE as u64);
    }
}

#[test]
fn the_first_append_needs_no_header_and_the_commit_one() {
    let memory = Memory::default();
    let file = this().create(&memory);
    file.append(&[7; 1000]).unwrap();
    file.write_at(500, &[8; 100_000]).unwrap();
    assert_eq!((file.header().sequence, file.is_dirty(), file.is_new()), (1, true, false));
    file.commit_clean().unwrap();
    assert_eq!((file.header().sequence, file.is_dirty()), (2, false));
    drop(file);
    assert_eq!(content(&this().open(&memory).unwrap()).unwrap().len(), 100_500);
}

#[test]
fn every_other_change_says_so_first() {
    let changes: [fn(&CryptFile<Memory>); 4] = [
        |file| file.set_size(5000).unwrap(),
        |file| file.write_at(10_000, b"behind a hole").unwrap(),
        |file| file.allocate(0, 10_000, false).unwrap(),
        |file| file.append(&vec![1; 1 << 20]).and_then(|_| file.set_size(10)).unwrap(),
    ];
    for change in changes {
        let memory = Memory::default();
        let file = this().create(&memory);
        change(&file);
        assert!(file.header().sequence > 1 && file.is_dirty());
        let size = file.size();
        assert_eq!(this().open(&memory.fork()).unwrap().size(), size, "killed");
        file.commit_clean().unwrap();
        drop(file);
        assert_eq!(this().open(&memory).unwrap().size(), size);
    }
}

#[test]
fn an_fsync_and_a_rewrap_of_a_new_file_make_it_clean() {
    let other = File::new(9, Durability::Default).wrapped;
    for rewraps in [false, true] {
        let memory = Memory::default();
        let file = this().create(&memory);
        if rewraps {
            file.rewrap(&other).unwrap()
        } else {
            file.sync().unwrap()
        };
        let header = file.header();
        assert_eq!((header.dirty, header.resize, header.target_size), (false, ResizeKind::None, 0));
        assert!(header.sequence > 1 && !file.is_new());
        drop(file);
        let again = this().open(&memory).unwrap();
        assert_eq!((again.header(), again.size()), (header, 0));
    }
}

#[test]
fn what_was_written_to_a_new_file_and_not_entered_is_cut_off() {
    let memory = this().empty();
    memory.put(PAGE as u64, &[7; 1000]);
    let file = this().open(&memory).unwrap();
    assert_eq!((file.size(), file.is_dirty(), file.is_new(), memory.size()), (0, false, false, PAGE as u64));
    let memory = this().empty();
    memory.put(PAGE as u64, &[7; 1000]);
    assert_eq!(this().repair(&memory).unwrap().done.first(), Some(&Done::Recovered));
}

#[test]
fn the_first_header_put_back_alone_is_detected() {
    let memory = Memory::default();
    let file = this().create(&memory);
    let slot = memory.bytes(0, 1024);
    file.append(&[7; 1000]).unwrap();
    file.commit_clean().unwrap();
    drop(file);
    memory.put(0, &slot);
    memory.put(1024, &[0; 1024]);
    assert!(this().open(&memory).is_err());
    // Also where the file is as long as a new one.
    let file = this().create(&memory);
    let slot = memory.bytes(0, 1024);
    file.append(&[7; 1000]).unwrap();
    file.set_size(0).unwrap();
    file.commit_clean().unwrap();
    assert_eq!(memory.size(), PAGE as u64);
    memory.put(0, &slot);
    memory.put(1024, &[0; 1024]);
    assert!(this().open(&memory).is_err());
}
