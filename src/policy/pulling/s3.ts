import { AwsClient } from 'aws4fetch';
import { escaped, type S3Credentials, type S3Settings } from '../../audit/keeping/s3.ts';
import type { TenantId } from '../../ids.ts';
import { unpackedBundle } from './archive.ts';
import { get } from './get.ts';
import type { Verification } from './signatures.ts';
import type { BundleSource, Pulled } from './source.ts';

/** A bundle in a bucket of an S3-compatible store. */
export class S3Source implements BundleSource {
  readonly name: string;
  readonly #tenant: TenantId;
  readonly #url: string;
  readonly #client: AwsClient;
  readonly #verification: Verification | undefined;

  constructor(
    tenant: TenantId,
    { endpoint, region, bucket, prefix, key }: S3Settings & { readonly key: string },
    credentials: S3Credentials,
    verification: Verification | undefined,
  ) {
    this.name = `s3://${bucket}/${prefix}${key}`;
    const path = `${prefix}${key}`.split('/').map(escaped).join('/');
    this.#url = `${endpoint.replace(/\/$/, '')}/${bucket}/${path}`;
    this.#tenant = tenant;
    this.#verification = verification;
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    this.#client = new AwsClient({
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      service: 's3',
      region,
    });
  }

  async pull(etag: string | undefined, signal: AbortSignal): Promise<Pulled> {
    const signed = await this.#client.sign(this.#url, {
      method: 'GET',
      headers: etag === undefined ? {} : { 'if-none-match': etag },
    });
    const headers = Object.fromEntries(signed.headers);
    const got = await get({ url: new URL(signed.url), headers, holdMs: 0, signal });
    if (!got.body) return { files: undefined, waited: false };
    const unpacked = await unpackedBundle(got.body, this.#tenant, this.#verification);
    return { ...unpacked, etag: got.etag, waited: false };
  }
}
