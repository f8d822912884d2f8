"""Keys through their whole lives, as boto3 sees them: its model of the service checks each answer's shape."""

import datetime
import json
import os
import re

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from conftest import ACCOUNT, REGION

UTC = datetime.timezone.utc
UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def user(name):
    return f"arn:aws:iam::{ACCOUNT}:user/{name}"


def state(kms, key):
    return kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]


def test_a_new_key_is_described_as_awss(kms):
    made = kms.create_key(Description="a key", Tags=[{"TagKey": "team", "TagValue": "a"}])
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert re.fullmatch(UUID, made["ResponseMetadata"]["RequestId"])
    assert made["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"
    key = made["KeyMetadata"]
    assert re.fullmatch(UUID, key["KeyId"]) and key["Arn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{key['KeyId']}"
    assert abs((key["CreationDate"] - datetime.datetime.now(UTC)).total_seconds()) < 3600 * 24 * 30
    material = key["CurrentKeyMaterialId"]
    assert re.fullmatch("[0-9a-f]{64}", material)
    assert key == {
        "AWSAccountId": ACCOUNT,
        "KeyId": key["KeyId"],
        "Arn": key["Arn"],
        "CreationDate": key["CreationDate"],
        "Enabled": True,
        "Description": "a key",
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
        "CurrentKeyMaterialId": material,
    }
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] == key
    assert kms.describe_key(KeyId=key["Arn"])["KeyMetadata"] == key
    tags = kms.list_resource_tags(KeyId=key["KeyId"])
    assert tags["Tags"] == [{"TagKey": "team", "TagValue": "a"}] and tags["Truncated"] is False
    kms.update_key_description(KeyId=key["KeyId"], Description="another")
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["Description"] == "another"


def test_an_alias_is_made_moved_and_removed(kms, key):
    other = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/moved", TargetKeyId=key["KeyId"])
    assert kms.describe_key(KeyId="alias/moved")["KeyMetadata"]["KeyId"] == key["KeyId"]
    (alias,) = kms.list_aliases(KeyId=key["KeyId"])["Aliases"]
    assert alias["AliasName"] == "alias/moved" and alias["TargetKeyId"] == key["KeyId"]
    assert alias["AliasArn"] == f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/moved"
    assert alias["CreationDate"] == alias["LastUpdatedDate"]
    kms.update_alias(AliasName="alias/moved", TargetKeyId=other["KeyId"])
    assert kms.describe_key(KeyId=alias["AliasArn"])["KeyMetadata"]["KeyId"] == other["KeyId"]
    with pytest.raises(kms.exceptions.AlreadyExistsException):
        kms.create_alias(AliasName="alias/moved", TargetKeyId=key["KeyId"])
    kms.delete_alias(AliasName="alias/moved")
    with pytest.raises(kms.exceptions.NotFoundException) as raised:
        kms.describe_key(KeyId="alias/moved")
    assert raised.value.response["Error"]["Message"] == f"Alias {alias['AliasArn']} is not found."


def test_what_is_encrypted_is_decrypted_with_its_context_and_no_other(kms, key):
    context = {"a": "bc", "purpose": "Prüfung"}
    sealed = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"hello \x00", EncryptionContext=context)
    assert sealed["KeyId"] == key["Arn"] and sealed["EncryptionAlgorithm"] == "SYMMETRIC_DEFAULT"
    blob = sealed["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=blob, EncryptionContext=dict(reversed(context.items())))
    assert opened["Plaintext"] == b"hello \x00" and opened["KeyId"] == key["Arn"]
    assert opened["KeyMaterialId"] == key["CurrentKeyMaterialId"]
    for wrong in [{}, {"ab": "c", "purpose": "Prüfung"}, {**context, "x": "y"}, {**context, "a": "BC"}]:
        with pytest.raises(kms.exceptions.InvalidCiphertextException) as raised:
            kms.decrypt(CiphertextBlob=blob, EncryptionContext=wrong)
        # AWS says nothing of why.
        assert raised.value.response["Error"].get("Message", "") == ""
    other = kms.create_key()["KeyMetadata"]
    with pytest.raises(kms.exceptions.IncorrectKeyException):
        kms.decrypt(CiphertextBlob=blob, EncryptionContext=context, KeyId=other["KeyId"])
    again = kms.re_encrypt(
        CiphertextBlob=blob, SourceEncryptionContext=context, DestinationKeyId=other["KeyId"], DestinationEncryptionContext={"n": "w"}
    )
    assert (again["SourceKeyId"], again["KeyId"]) == (key["Arn"], other["Arn"])
    assert again["SourceKeyMaterialId"] == key["CurrentKeyMaterialId"]
    assert again["DestinationKeyMaterialId"] == other["CurrentKeyMaterialId"]
    assert kms.decrypt(CiphertextBlob=again["CiphertextBlob"], EncryptionContext={"n": "w"})["Plaintext"] == b"hello \x00"


def test_data_keys_and_random_bytes(kms, key):
    for asked, length in [({"KeySpec": "AES_256"}, 32), ({"KeySpec": "AES_128"}, 16), ({"NumberOfBytes": 1024}, 1024)]:
        made = kms.generate_data_key(KeyId=key["Arn"], EncryptionContext={"k": "v"}, **asked)
        assert len(made["Plaintext"]) == length and made["KeyId"] == key["Arn"]
        opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext={"k": "v"})
        assert opened["Plaintext"] == made["Plaintext"]
        sealed = kms.generate_data_key_without_plaintext(KeyId=key["Arn"], **asked)
        assert "Plaintext" not in sealed
        assert len(kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])["Plaintext"]) == length
    assert len(kms.generate_random(NumberOfBytes=1024)["Plaintext"]) == 1024


def test_a_key_is_rotated_and_opens_what_it_sealed_before(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"before")["CiphertextBlob"]
    assert kms.get_key_rotation_status(KeyId=key["KeyId"])["KeyRotationEnabled"] is False
    kms.enable_key_rotation(KeyId=key["KeyId"], RotationPeriodInDays=90)
    status = kms.get_key_rotation_status(KeyId=key["KeyId"])
    assert status["KeyRotationEnabled"] is True and status["RotationPeriodInDays"] == 90 and status["KeyId"] == key["KeyId"]
    assert abs((status["NextRotationDate"] - key["CreationDate"]).total_seconds() - 90 * 86400) < 600
    kms.disable_key_rotation(KeyId=key["KeyId"])
    assert kms.rotate_key_on_demand(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    (rotation,) = kms.list_key_rotations(KeyId=key["KeyId"])["Rotations"]
    assert rotation["RotationType"] == "ON_DEMAND" and rotation["KeyId"] == key["KeyId"]
    everything = kms.list_key_rotations(KeyId=key["KeyId"], IncludeKeyMaterial="ALL_KEY_MATERIAL")["Rotations"]
    assert [one["KeyMaterialState"] for one in everything] == ["NON_CURRENT", "CURRENT"]
    assert everything[0]["KeyMaterialId"] == key["CurrentKeyMaterialId"] and "RotationDate" not in everything[0]
    assert kms.decrypt(CiphertextBlob=blob)["KeyMaterialId"] == key["CurrentKeyMaterialId"]
    assert kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["CurrentKeyMaterialId"] == rotation["KeyMaterialId"]


def test_a_key_is_disabled_deleted_saved_and_enabled(kms, key):
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    kms.disable_key(KeyId=key["KeyId"])
    assert state(kms, key) == "Disabled"
    with pytest.raises(kms.exceptions.DisabledException) as raised:
        kms.decrypt(CiphertextBlob=blob)
    assert raised.value.response["Error"]["Message"] == f"{key['Arn']} is disabled."
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    kms.enable_key(KeyId=key["KeyId"])
    scheduled = kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    assert scheduled["KeyId"] == key["Arn"] and scheduled["KeyState"] == "PendingDeletion"
    assert scheduled["PendingWindowInDays"] == 7
    described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert described["KeyState"] == "PendingDeletion" and described["Enabled"] is False
    assert described["DeletionDate"] == scheduled["DeletionDate"]
    with pytest.raises(kms.exceptions.KMSInvalidStateException) as raised:
        kms.decrypt(CiphertextBlob=blob)
    assert raised.value.response["Error"]["Message"] == f"{key['Arn']} is pending deletion."
    assert kms.cancel_key_deletion(KeyId=key["KeyId"])["KeyId"] == key["Arn"]
    assert state(kms, key) == "Disabled"
    kms.enable_key(KeyId=key["KeyId"])
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"


def test_a_key_is_gone_when_its_date_has_passed(home, kms):
    key = kms.create_key()["KeyMetadata"]
    kms.schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    home.kmsfs("clock", "advance", "8d")
    with pytest.raises(kms.exceptions.NotFoundException) as raised:
        kms.describe_key(KeyId=key["KeyId"])
    assert raised.value.response["Error"]["Message"] == f"Key '{key['Arn']}' does not exist"


def test_tags_are_given_replaced_and_taken(kms, key):
    names = [f"t{number:02}" for number in range(50)]
    kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": name, "TagValue": ""} for name in names])
    kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "t00", "TagValue": "x"}])
    with pytest.raises(ClientError) as raised:
        kms.tag_resource(KeyId=key["KeyId"], Tags=[{"TagKey": "one more", "TagValue": "x"}])
    assert raised.value.response["Error"] == {"Code": "TagException", "Message": "Too many tags"} or (
        raised.value.response["Error"]["Code"] in ("TagException", "LimitExceededException")
    )
    pages = kms.get_paginator("list_resource_tags").paginate(KeyId=key["KeyId"], PaginationConfig={"PageSize": 20})
    tags = {tag["TagKey"]: tag["TagValue"] for page in pages for tag in page["Tags"]}
    assert sorted(tags) == names and tags["t00"] == "x"
    kms.untag_resource(KeyId=key["KeyId"], TagKeys=names[1:])
    assert kms.list_resource_tags(KeyId=key["KeyId"])["Tags"] == [{"TagKey": "t00", "TagValue": "x"}]


def test_a_policy_decides_who_may(home, kms, key):
    assert kms.list_key_policies(KeyId=key["KeyId"])["PolicyNames"] == ["default"]
    default = kms.get_key_policy(KeyId=key["KeyId"])
    assert json.loads(default["Policy"])["Statement"][0]["Principal"]["AWS"] == ROOT and default["PolicyName"] == "default"
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "owner", "Effect": "Allow", "Principal": {"AWS": ROOT}, "Action": "kms:*", "Resource": "*"},
            {"Effect": "Deny", "Principal": {"AWS": user("mallory")}, "Action": "kms:*", "Resource": "*"},
        ],
    }
    text = json.dumps(policy, indent=1)
    kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy=text)
    assert kms.get_key_policy(KeyId=key["KeyId"], PolicyName="default")["Policy"] == text
    mallory, alice = home.client("mallory"), home.client("alice")
    assert alice.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["KeyId"] == key["Arn"]
    with pytest.raises(ClientError) as raised:
        mallory.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    error = raised.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"] == (
        f"User: {user('mallory')} is not authorized to perform: kms:Encrypt on resource: {key['Arn']} "
        "with an explicit deny in a resource-based policy"
    )
    with pytest.raises(kms.exceptions.MalformedPolicyDocumentException):
        kms.put_key_policy(KeyId=key["KeyId"], PolicyName="default", Policy="{")


def test_a_grant_lets_somebody_in_until_it_ends(home, kms, key):
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": user("owner")}, "Action": "kms:*", "Resource": "*"}],
    }
    owner, bob = home.client("owner"), home.client("bob")
    owner.put_key_policy(KeyId=key["KeyId"], Policy=json.dumps(policy))
    with pytest.raises(ClientError):
        bob.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    grant = owner.create_grant(
        KeyId=key["KeyId"],
        GranteePrincipal=user("bob"),
        RetiringPrincipal=user("carol"),
        Operations=["Encrypt", "Decrypt"],
        Constraints={"EncryptionContextSubset": {"k": "v"}},
        Name="for-bob",
    )
    assert re.fullmatch("[0-9a-f]{64}", grant["GrantId"])
    blob = bob.encrypt(
        KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"k": "v", "more": "m"}, GrantTokens=[grant["GrantToken"]]
    )["CiphertextBlob"]
    with pytest.raises(ClientError) as raised:
        bob.encrypt(KeyId=key["KeyId"], Plaintext=b"x", EncryptionContext={"k": "w"})
    assert raised.value.response["Error"]["Code"] == "AccessDeniedException"
    (listed,) = owner.list_grants(KeyId=key["KeyId"], GranteePrincipal=user("bob"))["Grants"]
    assert listed["GrantId"] == grant["GrantId"] and listed["Name"] == "for-bob" and listed["KeyId"] == key["Arn"]
    assert listed["Operations"] == ["Encrypt", "Decrypt"] and listed["IssuingAccount"] in (ROOT, user("owner"), ACCOUNT)
    assert listed["Constraints"] == {"EncryptionContextSubset": {"k": "v"}}
    assert [one["GrantId"] for one in kms.list_retirable_grants(RetiringPrincipal=user("carol"))["Grants"]] == [grant["GrantId"]]
    home.client("carol").retire_grant(GrantToken=grant["GrantToken"])
    with pytest.raises(ClientError):
        bob.decrypt(CiphertextBlob=blob, EncryptionContext={"k": "v", "more": "m"})
    another = owner.create_grant(KeyId=key["KeyId"], GranteePrincipal=user("bob"), Operations=["Decrypt"])
    assert bob.decrypt(CiphertextBlob=blob, EncryptionContext={"k": "v", "more": "m"})["Plaintext"] == b"x"
    owner.revoke_grant(KeyId=key["KeyId"], GrantId=another["GrantId"])
    assert owner.list_grants(KeyId=key["KeyId"])["Grants"] == []


def wrapped(parameters, material):
    """The material under the wrapping key of an import."""
    public = serialization.load_der_public_key(parameters["PublicKey"])
    oaep = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return public.encrypt(material, oaep)


def parameters(kms, key):
    return kms.get_parameters_for_import(
        KeyId=key["KeyId"], WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
    )


def test_material_is_imported_expires_is_deleted_and_comes_back(home, kms):
    key = kms.create_key(Origin="EXTERNAL")["KeyMetadata"]
    assert key["KeyState"] == "PendingImport" and key["Enabled"] is False and "CurrentKeyMaterialId" not in key
    with pytest.raises(kms.exceptions.KMSInvalidStateException) as raised:
        kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    assert raised.value.response["Error"]["Message"] == f"{key['Arn']} is pending import."
    material = os.urandom(32)
    given = parameters(kms, key)
    assert given["KeyId"] == key["Arn"]
    valid_to = home_time(home) + datetime.timedelta(days=3)
    taken = kms.import_key_material(
        KeyId=key["KeyId"],
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=wrapped(given, material),
        ExpirationModel="KEY_MATERIAL_EXPIRES",
        ValidTo=valid_to,
    )
    assert taken["KeyId"] == key["Arn"] and re.fullmatch("[0-9a-f]{64}", taken["KeyMaterialId"])
    described = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert described["KeyState"] == "Enabled" and described["ExpirationModel"] == "KEY_MATERIAL_EXPIRES"
    assert abs((described["ValidTo"] - valid_to).total_seconds()) < 1
    blob = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")["CiphertextBlob"]
    home.kmsfs("clock", "advance", "4d")
    assert state(kms, key) == "PendingImport"
    for wrong, error in [
        (os.urandom(32), kms.exceptions.IncorrectKeyMaterialException),
        (os.urandom(16), kms.exceptions.IncorrectKeyMaterialException),
    ]:
        given = parameters(kms, key)
        with pytest.raises(error):
            kms.import_key_material(
                KeyId=key["KeyId"],
                ImportToken=given["ImportToken"],
                EncryptedKeyMaterial=wrapped(given, wrong),
                ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
            )
    given = parameters(kms, key)
    with pytest.raises(kms.exceptions.InvalidCiphertextException):
        kms.import_key_material(
            KeyId=key["KeyId"],
            ImportToken=given["ImportToken"],
            EncryptedKeyMaterial=os.urandom(256),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
    with pytest.raises(kms.exceptions.InvalidImportTokenException):
        kms.import_key_material(
            KeyId=key["KeyId"],
            ImportToken=b"x" * 100,
            EncryptedKeyMaterial=wrapped(given, material),
            ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
        )
    kms.import_key_material(
        KeyId=key["KeyId"],
        ImportToken=given["ImportToken"],
        EncryptedKeyMaterial=wrapped(given, material),
        ExpirationModel="KEY_MATERIAL_DOES_NOT_EXPIRE",
    )
    assert kms.decrypt(CiphertextBlob=blob)["Plaintext"] == b"x"
    kms.delete_imported_key_material(KeyId=key["KeyId"])
    assert state(kms, key) == "PendingImport"


def home_time(home):
    """The time by the home's clock."""
    shown = json.loads(home.kmsfs("clock", "show", "--json"))
    text = next(value for name, value in shown.items() if "T" in str(value) and name.lower() in ("time", "now", "claimed"))
    return datetime.datetime.fromisoformat(text)


def test_lists_have_pages(kms):
    made = {kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(5)}
    pages = list(kms.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2}))
    listed = [one for page in pages for one in page["Keys"]]
    assert made <= {one["KeyId"] for one in listed} and len(listed) == len({one["KeyId"] for one in listed})
    assert all(page["Truncated"] and page["NextMarker"] for page in pages[:-1])
    assert pages[-1]["Truncated"] is False and "NextMarker" not in pages[-1]
    assert all(set(one) == {"KeyId", "KeyArn"} for one in listed)
    one = made.pop()
    for number in range(5):
        kms.create_alias(AliasName=f"alias/page-{number}", TargetKeyId=one)
    pages = kms.get_paginator("list_aliases").paginate(KeyId=one, PaginationConfig={"PageSize": 2})
    assert [len(page["Aliases"]) for page in pages] == [2, 2, 1]
    for _ in range(3):
        kms.create_grant(KeyId=one, GranteePrincipal=user("dave"), RetiringPrincipal=user("erin"), Operations=["Decrypt"])
    pages = kms.get_paginator("list_grants").paginate(KeyId=one, PaginationConfig={"PageSize": 2})
    assert [len(page["Grants"]) for page in pages] == [2, 1]
    pages = kms.get_paginator("list_retirable_grants").paginate(RetiringPrincipal=user("erin"), PaginationConfig={"PageSize": 2})
    assert [len(page["Grants"]) for page in pages] == [2, 1]
    for name in ["list_key_policies", "list_key_rotations"]:
        assert len(list(kms.get_paginator(name).paginate(KeyId=one))) == 1
    with pytest.raises(kms.exceptions.InvalidMarkerException):
        kms.list_keys(Marker="nonsense")
    assert kms.waiter_names == [], "there is none for KMS"


def test_a_multi_region_key_lives_in_several_regions(home, kms):
    made = kms.create_key(MultiRegion=True, Description="of several")["KeyMetadata"]
    key, material = made["KeyId"], made["CurrentKeyMaterialId"]
    assert re.fullmatch("mrk-[0-9a-f]{32}", key) and made["MultiRegion"] is True
    here = {"Arn": made["Arn"], "Region": REGION}
    assert made["MultiRegionConfiguration"] == {"MultiRegionKeyType": "PRIMARY", "PrimaryKey": here, "ReplicaKeys": []}
    ireland = home.client(region="eu-west-1")
    answer = kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1", Tags=[{"TagKey": "a", "TagValue": "b"}])
    replica = answer["ReplicaKeyMetadata"]
    assert replica["KeyState"] == "Creating" and answer["ReplicaTags"] == [{"TagKey": "a", "TagValue": "b"}]
    there = {"Arn": made["Arn"].replace(REGION, "eu-west-1"), "Region": "eu-west-1"}
    described = ireland.describe_key(KeyId=key)["KeyMetadata"]
    assert described == {**replica, "KeyState": "Enabled", "Enabled": True}
    assert described["MultiRegionConfiguration"] == {"MultiRegionKeyType": "REPLICA", "PrimaryKey": here, "ReplicaKeys": [there]}
    with pytest.raises(kms.exceptions.AlreadyExistsException):
        kms.replicate_key(KeyId=key, ReplicaRegion="eu-west-1")
    with pytest.raises(ireland.exceptions.UnsupportedOperationException):
        ireland.replicate_key(KeyId=key, ReplicaRegion="eu-west-2")
    kms.rotate_key_on_demand(KeyId=key)
    sealed = ireland.encrypt(KeyId=key, Plaintext=b"there", EncryptionContext={"a": "b"})["CiphertextBlob"]
    opened = kms.decrypt(CiphertextBlob=sealed, EncryptionContext={"a": "b"})
    assert opened["Plaintext"] == b"there" and opened["KeyId"] == made["Arn"] and opened["KeyMaterialId"] != material
    kms.update_primary_region(KeyId=key, PrimaryRegion="eu-west-1")
    moved = kms.describe_key(KeyId=key)["KeyMetadata"]["MultiRegionConfiguration"]
    assert moved == {"MultiRegionKeyType": "REPLICA", "PrimaryKey": there, "ReplicaKeys": [here]}
    answer = ireland.schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert answer["KeyState"] == "PendingReplicaDeletion" and "DeletionDate" not in answer
    assert ireland.describe_key(KeyId=key)["KeyMetadata"]["PendingDeletionWindowInDays"] == 7
    with pytest.raises(ireland.exceptions.KMSInvalidStateException):
        ireland.encrypt(KeyId=key, Plaintext=b"x")
    ireland.cancel_key_deletion(KeyId=key)
    assert state(ireland, made) == "Disabled" and state(kms, made) == "Enabled"


def test_regions_have_keys_of_their_own(home, kms, key):
    there = home.client(region="eu-central-1")
    made = there.create_key()["KeyMetadata"]
    assert made["Arn"].startswith("arn:aws:kms:eu-central-1:")
    for client, stranger in [(kms, made), (there, key)]:
        with pytest.raises(client.exceptions.NotFoundException):
            client.describe_key(KeyId=stranger["KeyId"])


def test_the_last_use_of_a_key_is_the_last_that_succeeded(kms, key):
    """Members and their meaning: AWS KMS API Reference, GetKeyLastUsage."""
    never = kms.get_key_last_usage(KeyId=key["KeyId"])
    assert never.pop("ResponseMetadata")["HTTPStatusCode"] == 200
    created = key["CreationDate"]
    assert never == {"KeyId": key["KeyId"], "KeyLastUsage": {}, "TrackingStartDate": created, "KeyCreationDate": created}
    used = kms.encrypt(KeyId=key["KeyId"], Plaintext=b"x")
    with pytest.raises(ClientError):
        kms.decrypt(CiphertextBlob=used["CiphertextBlob"], EncryptionContext={"a": "b"})
    usage = kms.get_key_last_usage(KeyId=key["Arn"])["KeyLastUsage"]
    assert usage["Operation"] == "Encrypt" and re.fullmatch(UUID, usage["CloudTrailEventId"])
    assert usage["KmsRequestId"] == used["ResponseMetadata"]["RequestId"]
    assert usage["Timestamp"] >= created
    with pytest.raises(kms.exceptions.InvalidArnException):
        kms.get_key_last_usage(KeyId="alias/none")
