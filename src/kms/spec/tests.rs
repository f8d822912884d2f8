//! Names are AWS's, and each usage of a spec has what it needs.

use super::*;

#[test]
fn names_are_aws_s_and_find_themselves() {
    for spec in KeySpec::ALL {
        assert_eq!(KeySpec::from_name(spec.name()), Some(*spec));
        assert!(!SPECS_NOT_HERE.contains(&spec.name()));
    }
    for algorithm in SigningAlgorithm::ALL {
        assert_eq!(SigningAlgorithm::from_name(algorithm.name()), Some(*algorithm));
    }
    assert_eq!(KeySpec::from_name("ML_DSA_44"), None);
    assert_eq!(KeyUsage::from_name("ENCAPSULATE_DECAPSULATE"), None);
}

#[test]
fn every_spec_has_algorithms_for_each_of_its_usages_and_a_pair_of_its_kind() {
    for spec in KeySpec::ALL {
        assert!(!spec.usages().is_empty());
        for usage in KeyUsage::ALL {
            let algorithms = match usage {
                KeyUsage::EncryptDecrypt => spec.encryption_algorithms().len(),
                KeyUsage::SignVerify => spec.signing_algorithms().len(),
                KeyUsage::GenerateVerifyMac => spec.mac_algorithms().len(),
                KeyUsage::KeyAgreement => spec.key_agreement_algorithms().len(),
            };
            assert_eq!(algorithms > 0, spec.usages().contains(usage), "{spec:?} {usage:?}");
        }
    }
}
