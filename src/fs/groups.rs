//! Whether who sends a request is a member of a file's group.

use rustix::fs::Mode;

use super::Caller;
use super::errno::Result;
use super::inode::Inode;

impl Inode {
    /// Takes the set-group-id bit away where `caller` is not a member of the file's group, as changing the permissions
    /// of a file does (`chmod(2)`); a kernel leaves that to this side when they come as an access control list.
    pub(super) fn keep_group_from(&self, caller: Caller) -> Result<()> {
        let stat = self.stat()?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.contains(Mode::SGID) && !is_member(caller, stat.st_gid) {
            self.chmod(mode.difference(Mode::SGID))?;
        }
        Ok(())
    }
}

/// Whether the caller's own group or one of its further ones is `gid`. It waits for its answer, so its number is its own; one
/// that cannot be looked at is no member.
fn is_member(caller: Caller, gid: u32) -> bool {
    let status = || std::fs::read_to_string(format!("/proc/{}/status", caller.pid)).unwrap_or_default();
    caller.gid == gid || groups(&status()).any(|group| group == gid)
}

/// The further groups in a process's status (`proc_pid_status(5)`).
fn groups(status: &str) -> impl Iterator<Item = u32> {
    let list = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    list.split_whitespace().filter_map(|group| group.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_further_groups_are_read_from_a_status() {
        let status = "Name:\tGroups: 7\nGid:\t1\t1\t1\t1\nGroups:\t4 24 100 \nNStgid:\t5\n";
        assert_eq!(groups(status).collect::<Vec<_>>(), [4, 24, 100]);
        assert_eq!(groups("Groups:\t \n").count() + groups("").count(), 0);
    }
}
