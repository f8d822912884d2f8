//! Rows of credentials.

use rusqlite::types::Value;

use super::{Row, text, time};
use crate::kms::credential::{AccessKeyId, CredentialRecord};

/// The row of a credential.
pub fn credential_row(credential: &CredentialRecord) -> Row {
    vec![
        credential.id.to_string().into(),
        credential.principal.clone().into(),
        credential.created.as_millis().into(),
        credential.sealed.clone().into(),
    ]
}

/// The credential of a row; `None` where the row is not one that [`credential_row`] writes.
pub fn credential_record(row: &Row) -> Option<CredentialRecord> {
    let [id, principal, created, Value::Blob(sealed)] = row.as_slice() else { return None };
    Some(CredentialRecord {
        id: AccessKeyId::parse(text(id)?)?,
        principal: text(principal)?.to_owned(),
        created: time(created)?,
        sealed: sealed.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn a_credential_comes_back_from_its_row_and_from_no_other() {
        let credential = CredentialRecord {
            id: AccessKeyId::random(),
            principal: "arn:aws:iam::000000000000:root".to_owned(),
            created: Timestamp::from_millis(5),
            sealed: vec![1, 2],
        };
        let row = credential_row(&credential);
        assert_eq!(credential_record(&row), Some(credential));
        for (column, wrong) in
            [(0, "AKIA".to_owned().into()), (1, Value::Null), (2, Value::Null), (3, Value::Null)]
        {
            let mut row = row.clone();
            row[column] = wrong;
            assert_eq!(credential_record(&row), None, "{column}");
        }
        assert_eq!(credential_record(&row[1..].to_vec()), None);
    }
}
