"""Requests that botocore signs, as golden data: python3 sign.py > botocore.json, with botocore 1.44.8."""

import datetime
import json

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY_ID = "AKIAKMSFSEXAMPLE2345"
SECRET = "kmsfs/Example+Secret/of+forty/characters"
NOW = datetime.datetime(2026, 11, 25, 5, 12, 0)
botocore.auth.get_current_datetime = lambda remove_tzinfo=True: NOW

assert len(SECRET) == 40 and len(ACCESS_KEY_ID) == 20


def signed(name, region, target, headers, body, path="/", method="POST"):
    """One request, signed, as it goes over the wire."""
    request = AWSRequest(method=method, url="http://127.0.0.1:4599" + path, data=body.encode())
    request.headers["Host"] = "127.0.0.1:4599"
    if target:
        request.headers["X-Amz-Target"] = "TrentService." + target
    for key, value in headers:
        request.headers[key] = value
    botocore.auth.SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET), "kms", region).add_auth(request)
    headers = [[key, value] for key, value in request.headers.items()]
    return {"name": name, "region": region, "method": method, "target": path, "headers": headers, "body": body}


JSON = [("Content-Type", "application/x-amz-json-1.1"), ("User-Agent", "Boto3/1.44.8 md/Botocore#1.44.8")]

print(
    json.dumps(
        {
            "accessKeyId": ACCESS_KEY_ID,
            "secret": SECRET,
            "now": "2026-11-25T05:12:00Z",
            "requests": [
                signed("no parameters", "us-east-1", "ListKeys", JSON, "{}"),
                signed("a body", "eu-central-1", "DescribeKey", JSON, '{"KeyId": "alias/a b"}'),
                signed("a body beyond ASCII", "ap-northeast-2", "CreateKey", JSON, '{"Description": "Schlüssel 鍵"}'),
                signed("an empty body", "us-east-1", "ListAliases", JSON, ""),
                signed(
                    "odd spaces in values",
                    "us-east-1",
                    "ListKeys",
                    [*JSON, ("X-Note", "  two  spaces   and  more  "), ("X-Amz-Meta", '"a  b"')],
                    "{}",
                ),
                signed("a date of HTTP", "us-east-1", "ListKeys", [*JSON, ("Date", "now")], "{}"),
                signed(
                    "the hash of the body",
                    "us-east-1",
                    "ListKeys",
                    [
                        *JSON,
                        (
                            "X-Amz-Content-SHA256",
                            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                        ),
                    ],
                    "{}",
                ),
                signed("a query", "us-east-1", "ListKeys", JSON, "{}", "/?b=2&a=%C3%A4%20%2F&a=1&empty"),
            ],
        },
        indent=1,
        ensure_ascii=False,
    )
)
