"""Asks the vendor's own clients. A JSON object on standard input says what; the answer is one on standard output."""

import json
import logging
import sys

from cloud_idaas.core import IDaaSCredentialProviderFactory
from cloud_idaas.pam_client import IDaaSPamClient


def tokens(client, job, revoked, expired):
    """Reads every page as the vendor's samples do: while there is a next token, with the same filters."""
    pages, found, total, next_token = 0, [], None, None
    while True:
        page = client.list_authentication_tokens(
            job["consumer"], job["provider"], next_token=next_token, max_results=job["size"], revoked=revoked, expired=expired
        )
        pages += 1
        found += [vars(token) for token in page.entities]
        total, next_token = page.total_count, page.next_token
        if not next_token:
            return {"revoked": revoked, "expired": expired, "pages": pages, "total": total, "tokens": found}


def walk(job):
    """Gets an access token and lists a target with each filter, as CLOUD_IDAAS_CONFIG_PATH says."""
    IDaaSCredentialProviderFactory.init()
    client = IDaaSPamClient()
    choices = (None, False, True)
    return [tokens(client, job, revoked, expired) for revoked in choices for expired in choices]


def main():
    logging.disable(logging.CRITICAL)
    job = json.load(sys.stdin)
    json.dump({"walk": walk}[job["do"]](job), sys.stdout)


main()
