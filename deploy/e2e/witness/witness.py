"""Calls the vendor's clients. Reads a job as a JSON object from standard input and writes the result as one to standard output."""

import json
import logging
import sys
import time

from alibabacloud_credentials.client import Client as Credentials
from alibabacloud_eiam20211201.client import Client as ManagementClient
from alibabacloud_eiam20211201.models import ListApplicationsRequest, ListCredentialProvidersRequest
from alibabacloud_tea_openapi.models import Config
from cloud_idaas.core import IDaaSCredentialProviderFactory, IDaaSTokenResponse
from cloud_idaas.core.config import HttpConfiguration, IdentityAuthenticationConfiguration, IDaaSClientConfig
from cloud_idaas.core.http import HttpResponse
from cloud_idaas.core.http.default_http_client import HttpClientFactory
from cloud_idaas.core.implementation.authentication.pkcs7 import alibaba_cloud_ecs_attested_document_provider
from cloud_idaas.pam_client import IDaaSPamClient
from cloud_idaas.provider.plugin import AlibabaCloudPluginCredentialProvider


def tokens(client, job, revoked, expired):
    """Reads every page with the same filters while there is a next token, as the vendor's samples do."""
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
    """Gets an access token and lists a target with each filter, using CLOUD_IDAAS_CONFIG_PATH."""
    IDaaSCredentialProviderFactory.init()
    client = IDaaSPamClient()
    choices = (None, False, True)
    return [tokens(client, job, revoked, expired) for revoked in choices for expired in choices]


def providers(job):
    """Reads every page of the credential providers."""
    client = ManagementClient(Config(endpoint=job["endpoint"], credential=Credentials()))
    found, next_token = [], None
    while True:
        page = client.list_credential_providers(
            ListCredentialProvidersRequest(instance_id=job["instance"], max_results=100, next_token=next_token)
        ).body
        found += [[p.credential_provider_identifier, "", p.credential_provider_type, p.status] for p in page.credential_providers]
        next_token = page.next_token
        if not next_token:
            return {"total": page.total_count, "found": found}


def applications(job):
    """Reads the pages of the enabled M2M applications until all of the total are read."""
    client = ManagementClient(Config(endpoint=job["endpoint"], credential=Credentials()))
    found, page = [], 0
    while True:
        page += 1
        answer = client.list_applications(
            ListApplicationsRequest(
                instance_id=job["instance"],
                page_number=page,
                page_size=100,
                status="enabled",
                m_2mclient_status="enabled",
                application_identity_type="all",
                application_creation_type="all",
            )
        ).body
        found += [[a.application_id, a.application_name, a.application_identity_type, a.status] for a in answer.applications]
        if len(found) >= answer.total_count:
            return {"total": answer.total_count, "found": found}


class Nobody:
    """Answers every request with an access token: what is read here leads nowhere."""

    def send(self, request):
        return HttpResponse(200, json.dumps({"access_token": "x", "token_type": "Bearer", "expires_in": 1200, "expires_at": int(time.time()) + 1200}))


def outcome(job):
    """Reads and validates one client-config.json, and says what the client would work with, or why not."""
    IDaaSCredentialProviderFactory.reset()
    try:
        IDaaSCredentialProviderFactory.init(job["file"])
        IDaaSPamClient()
        provider = IDaaSCredentialProviderFactory.get_idaas_credential_provider()
        assertion = provider.client_assertion_provider
        return {
            "instance": IDaaSCredentialProviderFactory.get_idaas_instance_id(),
            "endpoint": IDaaSCredentialProviderFactory.get_developer_api_endpoint(),
            "client": provider.client_id,
            "scope": provider.scope,
            "token endpoint": provider.token_endpoint,
            "method": provider.authn_method.value.lower(),
            "secret": provider.client_secret_supplier and provider.client_secret_supplier(),
            "key": assertion and assertion._private_key_string,
            "federated credential": provider.application_federated_credential_name,
            "token file": provider.oidc_token_provider and provider.oidc_token_provider.get_oidc_token_file_path(),
            "certificate": provider.client_x509_certificate,
            "chain": provider.x509_cert_chains,
        }
    except Exception as e:
        return {"refused": f"{type(e).__name__}: {e.__cause__ or e}"}


def read(job):
    """Tells the outcome of many files, and every key that the client has."""
    HttpClientFactory._singleton_client = alibaba_cloud_ecs_attested_document_provider._HTTP_CLIENT = Nobody()
    token = IDaaSTokenResponse()
    token.access_token, token.expires_in, token.expires_at = "x", 1200, int(time.time()) + 1200
    AlibabaCloudPluginCredentialProvider.get_idaas_credential = lambda self, scope: token
    classes = (IDaaSClientConfig, IdentityAuthenticationConfiguration, HttpConfiguration)
    return {"keys": [name.lstrip("_") for c in classes for name in vars(c())], "outcomes": [outcome(j) for j in job["files"]]}


def main():
    logging.disable(logging.CRITICAL)
    job = json.load(sys.stdin)
    json.dump({"walk": walk, "read": read, "providers": providers, "applications": applications}[job["do"]](job), sys.stdout)


main()
