import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { readConfig } from '../../src/config.ts';
import {
  type Container,
  configurationIn,
  type Manifest,
  makeManifests,
  manifests,
  manifestsIn,
  type PodSpec,
  textOf,
  withoutGo,
} from './manifests.ts';

/** The chart, and what is made of it, as Helm and Kubernetes read them; and as Mandate reads the configuration in them. */

const chart = 'deploy/helm/mandate';
const served = ['deploy/kubernetes/authority.yaml', 'deploy/kubernetes/sidecar.yaml'];

/** Everything that is off, or left out, by default. */
const all = {
  baseUrl: 'https://mandate.example:7400',
  image: { repository: 'registry.example/mandate', tag: '1.2.3', pullPolicy: 'Always' },
  imagePullSecrets: [{ name: 'registry' }],
  tls: { secretName: 'own', clientCertificates: true },
  masterKey: { secretName: 'master', key: 'hex' },
  operators: [{ id: 'sidecars', secret_sha256: 'a'.repeat(64), may: ['sync.follow'], tenants: ['acme'] }],
  tenants: { existingClaim: 'policies' },
  config: { fuel: 1_000_000, ext_authz: { tenant_header: 'x-mandate-tenant' } },
  persistence: { storageClass: 'fast', size: '100Gi' },
  service: { type: 'LoadBalancer', annotations: { a: 'b' } },
  networkPolicy: { enabled: true, data: [], admin: [{ podSelector: {} }], egress: [] },
  serviceMonitor: { enabled: true, labels: { release: 'prometheus' } },
  nodeSelector: { disk: 'ssd' },
  tolerations: [{ key: 'disk', operator: 'Exists' }],
  affinity: { nodeAffinity: {} },
  podAnnotations: { a: 'b' },
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-chart-'));
  if (withoutGo === '') await makeManifests();
}, 600_000);
afterAll(() => rm(folder, { recursive: true }));

async function rendered(values: object): Promise<string> {
  const { code, stdout, stderr } = await chartWith(values);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout;
}

async function chartWith(values: object) {
  const file = path.join(folder, 'values.yaml');
  await writeFile(file, stringify(values));
  return manifests(['chart', chart, file]);
}

const podsIn = (text: string): PodSpec[] =>
  manifestsIn(text).flatMap(({ spec }) => (spec?.template ? [spec.template.spec] : []));

const mandateOf = ({ initContainers = [], containers }: PodSpec): Container => {
  const found = [...initContainers, ...containers].find(({ name }) => name === 'mandate');
  if (!found) throw new Error('no container is called mandate');
  return found;
};

/** Beside its text, as the file is read from a place; its secret has to be one that is there. */
async function configurationOf(text: string, environment: Record<string, string> = {}) {
  const file = path.join(folder, 'mandate.yaml');
  const secret = path.join(folder, 'secret');
  await writeFile(secret, 'sidecar-one-test-secret-000000000001');
  await writeFile(file, text.replace('/etc/mandate/authority/secret', secret));
  return readConfig(environment, {}, file);
}

describe.skipIf(withoutGo !== '')(`deploy/helm${withoutGo}`, () => {
  test.for([
    ['by default', {}, 6],
    ['with all that can be set', all, 7],
  ] as const)('%s renders what Kubernetes takes', async ([, values, objects]) => {
    const text = await rendered(values);
    const { code, stdout, stderr } = await manifests(['check'], text);
    expect(code, stderr).toBe(0);
    expect(stdout.trim().split('\n')).toHaveLength(objects);
  });

  test('its configuration is one that Mandate takes', async () => {
    for (const values of [{}, all]) {
      const config = await configurationOf(configurationIn(manifestsIn(await rendered(values))));
      expect(config).toMatchObject({ data: { host: '0.0.0.0', port: 7400 }, data_dir: '/var/lib/mandate' });
    }
    const config = await configurationOf(configurationIn(manifestsIn(await rendered(all))));
    expect(config).toMatchObject({
      base_url: all.baseUrl,
      tls: { client_ca: '/etc/mandate/tls/ca.crt' },
      operators: [{ id: 'sidecars', may: ['sync.follow'], tenants: ['acme'] }],
      ext_authz: { tenant_header: 'x-mandate-tenant' },
    });
  });

  test.for([
    ['an address that is not https', { baseUrl: 'http://mandate' }, 'baseUrl'],
    ['a value that there is not', { replicas: 2 }, 'replicas'],
    ['a member of the configuration that the chart sets', { config: { tls: {} } }, "'tls'"],
    ['development mode', { config: { dev: true } }, "'dev'"],
    ['a secret where a hash is wanted', { operators: [{ id: 'a', secret_sha256: 'open' }] }, 'secret_sha256'],
    ['no certificate', { tls: { secretName: '' } }, 'secretName'],
    ["a tenant's name that leads elsewhere", { tenants: { configMaps: { '../a': 'b' } } }, "'../a'"],
  ] as const)('refuses %s', async ([, values, place]) => {
    const { code, stderr } = await chartWith(values);
    expect(code).toBe(1);
    expect(stderr).toContain(place);
  });

  test('lets nobody in where a list of who may is empty', async () => {
    const policyOf = (text: string): Manifest | undefined =>
      manifestsIn(text).find(({ kind }) => kind === 'NetworkPolicy');
    const some = policyOf(await rendered(all));
    expect(some?.spec?.['ingress']).toEqual([
      { ports: [{ port: 'admin', protocol: 'TCP' }], from: [{ podSelector: {} }] },
    ]);
    const none = policyOf(await rendered({ networkPolicy: { data: [], admin: [] } }));
    expect(none?.spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'] });
    expect(none?.spec?.['ingress']).toBeNull();
  });

  test('another configuration is another pod', async () => {
    const one = await rendered({});
    const two = await rendered({ drainSeconds: 20 });
    const same = await rendered({});
    const hashOf = (text: string) => /mandate\.dev\/configuration: (\w{64})/.exec(text)?.[1];
    expect(hashOf(one)).toBe(hashOf(same));
    expect(hashOf(one)).not.toBe(hashOf(two));
  });
});

describe.skipIf(withoutGo !== '')(`deploy/kubernetes${withoutGo}`, () => {
  test('authority.yaml is what the chart makes ("make kubernetes")', async () => {
    const { stdout } = await manifests(['chart', chart, 'deploy/kubernetes/values.yaml']);
    const text = await textOf('deploy/kubernetes/authority.yaml');
    expect(text.split('\n').slice(1).join('\n')).toBe(stdout);
  });

  test.for(served)('%s is what Kubernetes takes, and a slip of the pen is not', async (file) => {
    const text = await textOf(file);
    expect(await manifests(['check'], text)).toMatchObject({ code: 0, stderr: '' });
    for (const [right, wrong] of [
      ['readOnlyRootFilesystem', 'readonlyRootFilesystem'],
      ['replicas: 1', 'replicas: one'],
      ['replicas: 2', 'replicas: two'],
      ['volumeMounts:', 'mounts:'],
    ] as const)
      if (text.includes(right))
        expect(await manifests(['check'], text.replace(right, wrong)), wrong).toMatchObject({ code: 1 });
  });

  test.for(served)('%s runs it without rights that it does not need', async (file) => {
    for (const pod of podsIn(await textOf(file))) {
      const mandate = mandateOf(pod);
      expect({ ...pod.securityContext, ...mandate.securityContext }).toMatchObject({
        runAsNonRoot: true,
        runAsUser: 65_532,
        fsGroup: 65_532,
        seccompProfile: { type: 'RuntimeDefault' },
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(pod).toMatchObject({ automountServiceAccountToken: false, enableServiceLinks: false });
      for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const)
        expect(mandate[probe], probe).toBeDefined();
      const claims = ['store', 'mandate-store'];
      const volumes = [...(pod.volumes ?? []).map(({ name }) => name), ...claims];
      for (const { name } of mandate.volumeMounts ?? []) expect(volumes).toContain(name);
    }
  });

  test('a sidecar starts before its service and ends after it, and is asked from within the pod alone', async () => {
    const text = await textOf('deploy/kubernetes/sidecar.yaml');
    const [pod] = podsIn(text);
    const mandate = pod?.initContainers?.find(({ name }) => name === 'mandate');
    expect(mandate?.restartPolicy).toBe('Always');
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const)
      expect(mandate?.[probe]?.exec?.command.slice(0, 2)).toEqual(['node', '/opt/mandate/bin/health.mjs']);
    expect(mandate?.env?.map(({ name }) => name)).toEqual(['MANDATE_NODE']);
    const config = await configurationOf(configurationIn(manifestsIn(text)), { MANDATE_NODE: 'documents-0' });
    expect(config).toMatchObject({
      node: 'documents-0',
      data: { host: '127.0.0.1' },
      admin: { host: '127.0.0.1' },
      authoritySecret: 'sidecar-one-test-secret-000000000001',
    });
    const authority = parse(
      configurationIn(manifestsIn(await textOf('deploy/kubernetes/authority.yaml'))),
    ) as {
      base_url: string;
    };
    expect(config.base_url).toBe(authority.base_url);
  });
});
