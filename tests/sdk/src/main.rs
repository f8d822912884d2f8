//! Walks keys through their lives with AWS's SDK for Rust. The environment says where the server is and who asks: `AWS_ENDPOINT_URL`,
//! `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`.

use std::error::Error;

use aws_config::BehaviorVersion;
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    AlgorithmSpec, DataKeySpec, ExpirationModelType, GrantOperation, KeyState, OriginType, Tag,
    WrappingKeySpec,
};
use aws_sdk_kms::{Client, operation};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let config = aws_config::defaults(BehaviorVersion::latest()).load().await;
    let kms = Client::new(&config);
    makes_and_describes(&kms).await?;
    encrypts_and_decrypts(&kms).await?;
    rotates_disables_and_deletes(&kms).await?;
    grants(&kms).await?;
    imports(&kms).await?;
    pages(&kms).await?;
    println!("the SDK for Rust has walked");
    Ok(())
}

async fn new_key(kms: &Client) -> Result<(String, String), Box<dyn Error>> {
    let made = kms.create_key().description("of the SDK").send().await?;
    let key = made.key_metadata.ok_or("no metadata")?;
    Ok((key.key_id, key.arn.ok_or("no ARN")?))
}

async fn state(kms: &Client, key: &str) -> Result<KeyState, Box<dyn Error>> {
    let described = kms.describe_key().key_id(key).send().await?;
    Ok(described.key_metadata.and_then(|key| key.key_state).ok_or("no state")?)
}

async fn makes_and_describes(kms: &Client) -> Outcome {
    let tag = Tag::builder().tag_key("team").tag_value("a").build()?;
    let made = kms.create_key().description("tagged").tags(tag.clone()).send().await?;
    let key = made.key_metadata().ok_or("no metadata")?.clone();
    let described = kms.describe_key().key_id(&key.key_id).send().await?;
    assert_eq!(described.key_metadata(), Some(&key));
    assert!(key.enabled && key.current_key_material_id.as_ref().is_some_and(|id| id.len() == 64));
    assert_eq!(kms.list_resource_tags().key_id(&key.key_id).send().await?.tags(), [tag]);
    kms.create_alias().alias_name("alias/sdk").target_key_id(&key.key_id).send().await?;
    let named = kms.describe_key().key_id("alias/sdk").send().await?;
    assert_eq!(named.key_metadata().map(|named| &named.key_id), Some(&key.key_id));
    let again = kms.create_alias().alias_name("alias/sdk").target_key_id(&key.key_id).send().await;
    assert!(again.unwrap_err().into_service_error().is_already_exists_exception());
    kms.delete_alias().alias_name("alias/sdk").send().await?;
    let gone = kms.describe_key().key_id("alias/sdk").send().await.unwrap_err().into_service_error();
    assert!(
        gone.is_not_found_exception() && gone.message().is_some_and(|said| said.ends_with("is not found."))
    );
    Ok(())
}

async fn encrypts_and_decrypts(kms: &Client) -> Outcome {
    let (key, arn) = new_key(kms).await?;
    let (other, _) = new_key(kms).await?;
    let plain = || Blob::new(*b"hello");
    let sealed = kms.encrypt().key_id(&key).plaintext(plain()).encryption_context("a", "bc").send().await?;
    let blob = sealed.ciphertext_blob.ok_or("no blob")?;
    let opened = kms.decrypt().ciphertext_blob(blob.clone()).encryption_context("a", "bc").send().await?;
    assert_eq!((opened.plaintext, opened.key_id), (Some(plain()), Some(arn)));
    let wrong = kms.decrypt().ciphertext_blob(blob.clone()).encryption_context("ab", "c").send().await;
    assert!(wrong.unwrap_err().into_service_error().is_invalid_ciphertext_exception());
    let again = kms.re_encrypt().ciphertext_blob(blob).source_encryption_context("a", "bc");
    let again = again.destination_key_id(&other).send().await?;
    let opened = kms.decrypt().ciphertext_blob(again.ciphertext_blob.ok_or("no blob")?).send().await?;
    assert_eq!(opened.plaintext, Some(plain()));
    let made = kms.generate_data_key().key_id(&key).key_spec(DataKeySpec::Aes256).send().await?;
    let opened = kms.decrypt().ciphertext_blob(made.ciphertext_blob.ok_or("no blob")?).send().await?;
    assert!(opened.plaintext == made.plaintext && made.plaintext.is_some_and(|key| key.as_ref().len() == 32));
    let random = kms.generate_random().number_of_bytes(7).send().await?;
    assert_eq!(random.plaintext.map(|bytes| bytes.as_ref().len()), Some(7));
    Ok(())
}

async fn rotates_disables_and_deletes(kms: &Client) -> Outcome {
    let (key, arn) = new_key(kms).await?;
    let sealed = kms.encrypt().key_id(&key).plaintext(Blob::new(*b"x")).send().await?;
    let blob = sealed.ciphertext_blob.ok_or("no blob")?;
    kms.enable_key_rotation().key_id(&key).rotation_period_in_days(90).send().await?;
    let status = kms.get_key_rotation_status().key_id(&key).send().await?;
    assert!(status.key_rotation_enabled && status.next_rotation_date.is_some());
    kms.rotate_key_on_demand().key_id(&key).send().await?;
    assert_eq!(kms.list_key_rotations().key_id(&key).send().await?.rotations().len(), 1);
    kms.disable_key().key_id(&key).send().await?;
    let refused = kms.decrypt().ciphertext_blob(blob.clone()).send().await.unwrap_err();
    assert_eq!(said(&refused), (Some("DisabledException"), Some(format!("{arn} is disabled.").as_str())));
    kms.enable_key().key_id(&key).send().await?;
    kms.schedule_key_deletion().key_id(&key).pending_window_in_days(7).send().await?;
    assert_eq!(state(kms, &key).await?, KeyState::PendingDeletion);
    let refused = kms.decrypt().ciphertext_blob(blob.clone()).send().await.unwrap_err();
    assert_eq!(said(&refused).0, Some("KMSInvalidStateException"));
    kms.cancel_key_deletion().key_id(&key).send().await?;
    kms.enable_key().key_id(&key).send().await?;
    assert!(kms.decrypt().ciphertext_blob(blob).send().await?.plaintext.is_some());
    Ok(())
}

/// The name and the message of an error.
fn said<R>(error: &SdkError<operation::decrypt::DecryptError, R>) -> (Option<&str>, Option<&str>) {
    (error.code(), error.message())
}

async fn grants(kms: &Client) -> Outcome {
    let (key, _) = new_key(kms).await?;
    let bob = "arn:aws:iam::000000000000:user/bob";
    let grant = kms.create_grant().key_id(&key).grantee_principal(bob).retiring_principal(bob);
    let grant = grant.operations(GrantOperation::Decrypt).send().await?;
    let listed = kms.list_grants().key_id(&key).send().await?;
    assert_eq!(listed.grants()[0].grant_id, grant.grant_id);
    kms.revoke_grant().key_id(&key).grant_id(grant.grant_id.ok_or("no id")?).send().await?;
    assert!(kms.list_grants().key_id(&key).send().await?.grants().is_empty());
    Ok(())
}

async fn imports(kms: &Client) -> Outcome {
    let made = kms.create_key().origin(OriginType::External).send().await?;
    let key = made.key_metadata.ok_or("no metadata")?.key_id;
    assert_eq!(state(kms, &key).await?, KeyState::PendingImport);
    let given =
        kms.get_parameters_for_import().key_id(&key).wrapping_algorithm(AlgorithmSpec::RsaesOaepSha256);
    let given = given.wrapping_key_spec(WrappingKeySpec::Rsa2048).send().await?;
    let mut material = [0; 32];
    rand::fill(&mut material)?;
    let public = PublicEncryptingKey::from_der(given.public_key.ok_or("no key")?.as_ref())?;
    let public = OaepPublicEncryptingKey::new(public)?;
    let mut wrapped = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, &material, &mut wrapped, None)?;
    let import = kms.import_key_material().key_id(&key).import_token(given.import_token.ok_or("no token")?);
    let import = import.encrypted_key_material(Blob::new(wrapped));
    import.expiration_model(ExpirationModelType::KeyMaterialDoesNotExpire).send().await?;
    assert_eq!(state(kms, &key).await?, KeyState::Enabled);
    let sealed = kms.encrypt().key_id(&key).plaintext(Blob::new(*b"x")).send().await?;
    kms.delete_imported_key_material().key_id(&key).send().await?;
    let refused =
        kms.decrypt().ciphertext_blob(sealed.ciphertext_blob.ok_or("no blob")?).send().await.unwrap_err();
    assert_eq!(said(&refused).0, Some("KMSInvalidStateException"));
    Ok(())
}

async fn pages(kms: &Client) -> Outcome {
    let mut pages = kms.list_keys().into_paginator().page_size(2).send();
    let (mut keys, mut count) = (0, 0);
    while let Some(page) = pages.next().await {
        keys += page?.keys().len();
        count += 1;
    }
    assert!(keys >= 6 && count == keys.div_ceil(2), "{keys} keys on {count} pages");
    let marker = kms.list_keys().marker("nonsense").send().await.unwrap_err().into_service_error();
    assert!(marker.is_invalid_marker_exception());
    Ok(())
}
