"""Each error that boto3 has a class for, and that a key of this service can come to."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import ACCOUNT, REGION

NOT_HERE = {
    # Custom key stores: there are none.
    "CloudHsmClusterInUseException",
    "CloudHsmClusterInvalidConfigurationException",
    "CloudHsmClusterNotActiveException",
    "CloudHsmClusterNotFoundException",
    "CloudHsmClusterNotRelatedException",
    "CustomKeyStoreHasCMKsException",
    "CustomKeyStoreInvalidStateException",
    "CustomKeyStoreNameInUseException",
    "IncorrectTrustAnchorException",
    "XksKeyAlreadyInUseException",
    "XksKeyInvalidConfigurationException",
    "XksKeyNotFoundException",
    "XksProxyIncorrectAuthenticationCredentialException",
    "XksProxyInvalidConfigurationException",
    "XksProxyInvalidResponseException",
    "XksProxyUriEndpointInUseException",
    "XksProxyUriInUseException",
    "XksProxyUriUnreachableException",
    "XksProxyVpcEndpointServiceInUseException",
    "XksProxyVpcEndpointServiceInvalidConfigurationException",
    "XksProxyVpcEndpointServiceNotFoundException",
    # Failures of the service.
    "DependencyTimeoutException",
    "KMSInternalException",
    "KeyUnavailableException",
    # Their time has not come within a test.
    "ConflictException",
    "ExpiredImportTokenException",
    # tests/clients/test_life.py has them, with an import.
    "IncorrectKeyMaterialException",
    "InvalidImportTokenException",
    # Of asymmetric keys and MACs.
    "KMSInvalidMacException",
    "KMSInvalidSignatureException",
    "InvalidKeyUsageException",
}


def provoked(kms):
    """Calls that fail, each with its error."""
    made = kms.create_key()["KeyMetadata"]
    key, arn = made["KeyId"], made["Arn"]
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    off = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=off)
    kms.create_alias(AliasName="alias/taken", TargetKeyId=key)
    blob = kms.encrypt(KeyId=key, Plaintext=b"x")["CiphertextBlob"]
    for _ in range(25):
        kms.rotate_key_on_demand(KeyId=other)
    return {
        "AlreadyExistsException": (lambda: kms.create_alias(AliasName="alias/taken", TargetKeyId=key), None),
        "CustomKeyStoreNotFoundException": (
            lambda: kms.create_key(Origin="AWS_CLOUDHSM", CustomKeyStoreId="cks-1234567890abcdef0"),
            None,
        ),
        "DisabledException": (lambda: kms.encrypt(KeyId=off, Plaintext=b"x"), f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{off} is disabled."),
        "DryRunOperationException": (
            lambda: kms.encrypt(KeyId=key, Plaintext=b"x", DryRun=True),
            "The request would have succeeded, but the DryRun option is set.",
        ),
        "IncorrectKeyException": (lambda: kms.decrypt(CiphertextBlob=blob, KeyId=other), None),
        "InvalidAliasNameException": (lambda: kms.create_alias(AliasName="alias/", TargetKeyId=key), None),
        "InvalidArnException": (lambda: kms.retire_grant(KeyId="arn:aws:s3:::x" + "y" * 30, GrantId="0" * 64), None),
        "InvalidCiphertextException": (lambda: kms.decrypt(CiphertextBlob=b"nonsense"), ""),
        "InvalidGrantIdException": (lambda: kms.revoke_grant(KeyId=key, GrantId="x"), None),
        "InvalidGrantTokenException": (lambda: kms.retire_grant(GrantToken="nonsense"), None),
        "InvalidMarkerException": (lambda: kms.list_keys(Marker="nonsense"), None),
        "KMSInvalidStateException": (
            lambda: kms.cancel_key_deletion(KeyId=key),
            f"{arn} is not pending deletion.",
        ),
        "LimitExceededException": (lambda: kms.rotate_key_on_demand(KeyId=other), None),
        "MalformedPolicyDocumentException": (lambda: kms.put_key_policy(KeyId=key, Policy="x"), None),
        "NotFoundException": (lambda: kms.describe_key(KeyId="nonsense"), "Invalid keyId 'nonsense'"),
        "TagException": (lambda: kms.tag_resource(KeyId=key, Tags=[{"TagKey": "aws:x", "TagValue": ""}]), None),
        "UnsupportedOperationException": (
            lambda: kms.get_parameters_for_import(
                KeyId=key, WrappingAlgorithm="RSAES_OAEP_SHA_256", WrappingKeySpec="RSA_2048"
            ),
            f"{arn} origin is AWS_KMS which is not valid for this operation.",
        ),
    }


def test_every_error_of_the_model_has_its_class(kms):
    modelled = {shape.name for shape in kms.meta.service_model.error_shapes}
    cases = provoked(kms)
    assert modelled - set(cases) - NOT_HERE == set()
    for name, (call, message) in cases.items():
        with pytest.raises(getattr(kms.exceptions, name)) as raised:
            call()
        response = raised.value.response
        assert response["Error"]["Code"] == name and response["ResponseMetadata"]["HTTPStatusCode"] == 400
        if message is not None:
            assert response["Error"]["Message"] == message, name


def test_all_violations_of_a_request_are_counted_in_awss_words(home):
    client = home.client(parameter_validation=False)
    with pytest.raises(ClientError) as raised:
        client.generate_data_key(KeyId="alias/x", NumberOfBytes=0)
    assert raised.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "1 validation error detected: Value '0' at 'numberOfBytes' failed to satisfy constraint: "
        "Member must have value greater than or equal to 1",
    }


def test_an_operation_that_is_not_there_is_said_so(home):
    client = home.client()

    def rename(request, **_):
        request.headers.replace_header("X-Amz-Target", "TrentService.MakeTea")

    client.meta.events.register("before-sign.kms", rename)
    with pytest.raises(ClientError) as raised:
        client.list_keys()
    assert raised.value.response["Error"]["Code"] == "UnknownOperationException"
    assert json.dumps(raised.value.response["Error"].get("Message", "")) == '""'
