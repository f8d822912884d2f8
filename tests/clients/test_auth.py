"""Who may speak to the server: signatures, right and wrong, by botocore's own signer."""

import datetime

import botocore.auth
import pytest
from botocore.exceptions import ClientError

UTC = datetime.timezone.utc
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. "
    "Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."


def refused(client, **parameters):
    """The code and the message of a refusal, which has the status 400."""
    with pytest.raises(ClientError) as raised:
        client.list_keys(**parameters)
    response = raised.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return response["Error"]["Code"], response["Error"]["Message"]


def with_hook(client, change):
    """The client, whose requests `change` alters after they are signed."""
    client.meta.events.register("before-send.kms", lambda request, **_: change(request))
    return client


def test_a_wrong_secret_and_an_unknown_access_key_are_refused(home):
    right = home.credential()
    wrong = {**right, "secretAccessKey": "0" * 40}
    assert refused(home.client(credential=wrong)) == ("InvalidSignatureException", MISMATCH)
    unknown = {**right, "accessKeyId": "AKIAAAAAAAAAAAAAAAAA"}
    assert refused(home.client(credential=unknown)) == ("UnrecognizedClientException", UNKNOWN)


def test_a_session_of_aws_is_none_here(home):
    client = home.client()
    client.meta.events.register("before-sign.kms", lambda request, **_: request.headers.add_header("X-Amz-Security-Token", "x"))
    assert refused(client) == ("UnrecognizedClientException", UNKNOWN)


def test_a_credential_that_is_revoked_is_refused_at_once(home):
    credential = home.new_credential("eve")
    client = home.client(credential=credential)
    client.list_keys()
    home.kmsfs("credentials", "revoke", credential["accessKeyId"])
    assert refused(client) == ("UnrecognizedClientException", UNKNOWN)


def test_what_is_altered_on_the_way_is_refused(home):
    def body(request):
        request.body = b'{"Limit": 7}'
        request.headers["Content-Length"] = "12"

    def target(request):
        request.headers["X-Amz-Target"] = "TrentService.ListAliases"

    def content_type(request):
        request.headers["Content-Type"] = "application/x-amz-json-1.1 ; x"

    for change in [body, target, content_type]:
        assert refused(with_hook(home.client(), change), Limit=9) == ("InvalidSignatureException", MISMATCH)


def test_a_header_that_is_missing_is_told(home):
    def unsigned(request):
        del request.headers["Authorization"]

    assert refused(with_hook(home.client(), unsigned)) == (
        "MissingAuthenticationTokenException",
        "Request is missing Authentication Token",
    )

    def undated(request):
        del request.headers["X-Amz-Date"]

    code, message = refused(with_hook(home.client(), undated))
    assert code == "IncompleteSignatureException"
    assert message.startswith("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. (Hashed")


def test_a_clock_that_is_wrong_is_told_by_how_much(home, monkeypatch):
    def at(minutes):
        now = datetime.datetime.now(UTC) + datetime.timedelta(minutes=minutes)
        monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: now.replace(tzinfo=None))

    for minutes in [-4, 4]:
        at(minutes)
        home.client().list_keys()
    at(-6)
    code, message = refused(home.client())
    assert code == "InvalidSignatureException"
    assert message.startswith("Signature expired: ") and " is now earlier than " in message and message.endswith(" - 5 min.)")
    at(6)
    code, message = refused(home.client())
    assert code == "InvalidSignatureException"
    assert message.startswith("Signature not yet current: ") and message.endswith(" + 5 min.)")


def test_what_is_signed_for_another_service_is_refused(home):
    client = home.client()
    client.meta.events.register("choose-signer.kms", lambda **_: "v4")
    client._request_signer._signing_name = "s3"
    code, message = refused(client)
    assert (code, message) == ("InvalidSignatureException", "Credential should be scoped to correct service: 'kms'. ")


def test_the_principal_of_a_credential_is_who_the_log_names(home):
    home.client("grace").create_key(Description="by grace")
    records = home.kmsfs("audit", "search", "--event", "CreateKey", "--json")
    assert "user/grace" in records
