//! What a passphrase slot costs to try: bounded, written as text into the slot, and calibrated on the machine.

use std::fmt;
use std::time::{Duration, Instant};

use crate::crypto::password::{self, Argon2Cost};
use crate::store::HomeError;

/// Memory in KiB. The least is far below what is recommended, and at most what a machine of today has; a slot is read before
/// anything in it is authenticated, so what it asks for must not bring the machine down.
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 8 * 1024..=4 * 1024 * 1024;
const ITERATIONS: std::ops::RangeInclusive<u32> = 1..=10_000;
const LANES: std::ops::RangeInclusive<u32> = 1..=64;
/// KiB times passes: some minutes of work on a slow machine.
const WORK_MAX: u64 = 256 * 1024 * 1024;

/// RFC 9106, 4: the second recommended option, for machines with less memory than the first one wants. The least that is made
/// unless somebody asks for less.
const RECOMMENDED: Argon2Cost = Argon2Cost { memory_kib: 64 * 1024, iterations: 3, lanes: 4 };
/// How long one attempt should take on the machine that makes the slot.
const TARGET: Duration = Duration::from_millis(500);

/// The cost of one attempt at a passphrase: Argon2id, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost(Argon2Cost);

/// What of a cost is asked for; the rest is calibrated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CostRequest {
    /// Memory in MiB.
    pub memory_mib: Option<u32>,
    /// Passes over it.
    pub iterations: Option<u32>,
    /// Lanes.
    pub lanes: Option<u32>,
}

impl Cost {
    /// Of memory in KiB, passes and lanes.
    ///
    /// # Errors
    /// A sentence that says which bound is passed.
    pub fn new(memory_kib: u32, iterations: u32, lanes: u32) -> Result<Self, String> {
        if !MEMORY_KIB.contains(&memory_kib) {
            return Err(format!("{memory_kib} KiB of memory: from 8 MiB to 4096 MiB are possible"));
        }
        if !ITERATIONS.contains(&iterations) {
            return Err(format!("{iterations} iterations: from 1 to 10000 are possible"));
        }
        if !LANES.contains(&lanes) {
            return Err(format!("{lanes} lanes: from 1 to 64 are possible"));
        }
        if u64::from(memory_kib) * u64::from(iterations) > WORK_MAX {
            return Err(format!("{iterations} iterations over {memory_kib} KiB would take minutes"));
        }
        Ok(Self(Argon2Cost { memory_kib, iterations, lanes }))
    }

    /// As asked for. Where the number of passes is not, so many that an attempt takes half a second here: measured, and never fewer
    /// than RFC 9106 recommends.
    ///
    /// # Errors
    /// [`HomeError::InvalidSetting`], and [`HomeError::OutOfMemory`] where this machine has not the memory.
    pub fn calibrated(request: CostRequest) -> Result<Self, HomeError> {
        let invalid = |why| HomeError::InvalidCost(why);
        let memory_kib = request.memory_mib.map_or(RECOMMENDED.memory_kib, |mib| mib.saturating_mul(1024));
        let lanes = request.lanes.unwrap_or(RECOMMENDED.lanes);
        if let Some(iterations) = request.iterations {
            return Self::new(memory_kib, iterations, lanes).map_err(invalid);
        }
        let least = Self::new(memory_kib, RECOMMENDED.iterations, lanes).map_err(invalid)?;
        let started = Instant::now();
        least.derive(b"a measurement", &[0; 32])?;
        Ok(least.for_target(started.elapsed()))
    }

    /// The cost that takes as long as it should, where this one took `elapsed`.
    fn for_target(self, elapsed: Duration) -> Self {
        let a_pass = elapsed.as_secs_f64() / f64::from(self.0.iterations);
        let wanted = (TARGET.as_secs_f64() / a_pass.max(1e-6)).round() as u32;
        let most = u32::try_from(WORK_MAX / u64::from(self.0.memory_kib)).unwrap_or(u32::MAX);
        let iterations = wanted.max(self.0.iterations).min(most).min(*ITERATIONS.end());
        Self(Argon2Cost { iterations, ..self.0 })
    }

    /// Reads what [`fmt::Display`] writes, and nothing else.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let unknown = || "it names a cost that this version does not know".to_owned();
        let rest = text.strip_prefix("argon2id,v=19,m=").ok_or_else(unknown)?;
        let (memory, rest) = rest.split_once(",t=").ok_or_else(unknown)?;
        let (iterations, lanes) = rest.split_once(",p=").ok_or_else(unknown)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| unknown());
        let cost = Self::new(number(memory)?, number(iterations)?, number(lanes)?)?;
        if cost.to_string() == text { Ok(cost) } else { Err(unknown()) }
    }

    /// The key that `passphrase` makes at this cost.
    ///
    /// # Errors
    /// [`HomeError::OutOfMemory`].
    pub fn derive(
        self,
        passphrase: &[u8],
        salt: &[u8],
    ) -> Result<crate::crypto::Secret<{ crate::crypto::KEY_LEN }>, HomeError> {
        // Within the bounds there is nothing else that Argon2 would refuse, but for a salt that somebody cut.
        password::derive(passphrase, salt, self.0).map_err(|error| match error {
            password::DerivationFailed::OutOfMemory => HomeError::OutOfMemory(self),
            password::DerivationFailed::Unsupported => {
                HomeError::Tampered("the salt of a passphrase slot was cut".to_owned())
            }
        })
    }

    /// Memory in MiB, rounded down.
    pub fn memory_mib(self) -> u32 {
        self.0.memory_kib / 1024
    }

    /// Passes over the memory.
    pub fn iterations(self) -> u32 {
        self.0.iterations
    }

    /// Lanes.
    pub fn lanes(self) -> u32 {
        self.0.lanes
    }
}

impl fmt::Display for Cost {
    /// As it stands in a slot: `argon2id,v=19,m=65536,t=3,p=4` (memory in KiB).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Argon2Cost { memory_kib, iterations, lanes } = self.0;
        write!(f, "argon2id,v=19,m={memory_kib},t={iterations},p={lanes}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cost_that_would_bring_the_machine_down_is_refused_before_anything_is_allocated() {
        for text in [
            "argon2id,v=19,m=104857600,t=3,p=4",
            "argon2id,v=19,m=4294967295,t=1,p=1",
            "argon2id,v=19,m=65536,t=4294967295,p=4",
            "argon2id,v=19,m=4194304,t=10000,p=4",
            "argon2id,v=19,m=65536,t=3,p=16777215",
            "argon2id,v=19,m=65536,t=0,p=4",
            "argon2id,v=19,m=8,t=3,p=1",
            "argon2id,v=19,m=65536,t=3,p=0",
        ] {
            assert!(Cost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cost_has_one_form_and_reads_back() {
        let cost = Cost::new(65_536, 7, 4).unwrap();
        assert_eq!(cost.to_string(), "argon2id,v=19,m=65536,t=7,p=4");
        assert_eq!(Cost::parse("argon2id,v=19,m=65536,t=7,p=4"), Ok(cost));
        for text in [
            "argon2id,v=19,m=+65536,t=7,p=4",
            "argon2id,v=19,m=65536,t=07,p=4",
            "argon2i,v=19,m=65536,t=7,p=4",
            "",
        ] {
            assert!(Cost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn more_passes_on_a_fast_machine_and_never_fewer_than_recommended() {
        let least = Cost::new(64 * 1024, 3, 4).unwrap();
        assert_eq!(least.for_target(Duration::from_millis(150)).iterations(), 10);
        assert_eq!(least.for_target(Duration::from_secs(9)).iterations(), 3);
        assert_eq!(least.for_target(Duration::ZERO).to_string(), "argon2id,v=19,m=65536,t=4096,p=4");
    }

    #[test]
    fn what_is_asked_for_is_not_measured_and_the_rest_is_what_is_recommended() {
        let request = CostRequest { memory_mib: Some(8), iterations: Some(1), lanes: None };
        assert_eq!(Cost::calibrated(request).unwrap().to_string(), "argon2id,v=19,m=8192,t=1,p=4");
        let default = Cost::calibrated(CostRequest::default()).unwrap();
        assert!(default.memory_mib() == 64 && default.iterations() >= 3 && default.lanes() == 4, "{default}");
        let request = CostRequest { memory_mib: Some(u32::MAX), ..request };
        assert!(matches!(Cost::calibrated(request), Err(HomeError::InvalidCost(_))));
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_reads_only_what_is_written(text in ".{0,60}") {
            if let Ok(cost) = Cost::parse(&text) {
                prop_assert_eq!(cost.to_string(), text);
            }
        }
    }
}
