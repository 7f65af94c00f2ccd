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
/** What "make kubernetes" makes, and of which values. */
const made = [
  ['deploy/kubernetes/authority.yaml', 'deploy/kubernetes/values.yaml'],
  ['deploy/kubernetes/authorities.yaml', 'deploy/kubernetes/values.authorities.yaml'],
] as const;
const served = [...made.map(([file]) => file), 'deploy/kubernetes/sidecar.yaml'];

/** As many as there may be with all that they take. */
const three = {
  authorities: 3,
  masterKey: { secretName: 'master' },
  postgres: { secretName: 'postgres', port: 6432 },
  peers: { secretName: 'peers' },
};

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
    ['by default', {}, 7],
    ['with all that can be set', all, 8],
    ['with several authorities', three, 7],
    ['with several of all that can be set', { ...all, ...three, masterKey: all.masterKey }, 8],
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
    ['no authority', { authorities: 0 }, 'authorities'],
    ['several without an order', { ...three, postgres: {} }, 'postgres.secretName'],
    ['several that do not know each other', { ...three, peers: {} }, 'peers.secretName'],
    ['several with a key each', { ...three, masterKey: {} }, 'masterKey.secretName'],
    ['several of one name', { ...three, config: { node: 'main' } }, 'config.node'],
    ['another order for several', { ...three, config: { store: 'postgres://db/b' } }, 'config.store'],
    ['other peers of several', { ...three, config: { peers: {} } }, 'config.peers'],
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

/** What the server of a pod is given, by its name. */
async function podOf(text: string, name: string) {
  const all = manifestsIn(text);
  const set = all.find(({ kind }) => kind === 'StatefulSet');
  const [pod] = podsIn(text);
  if (!set || !pod) throw new Error('there is no StatefulSet');
  const { env = [], volumeMounts = [] } = mandateOf(pod);
  const mounted = volumeMounts.find(({ mountPath }) => mountPath === '/etc/mandate/mandate.yaml');
  const file = mounted?.subPathExpr?.replace('$(MANDATE_NODE)', name) ?? mounted?.subPath ?? '';
  const config = all.find(({ kind }) => kind === 'ConfigMap')?.data?.[file];
  if (config === undefined) throw new Error(`the ConfigMap has no ${file}`);
  return { set, env: env.map((each) => each.name), text: config };
}

const GIVEN = {
  MANDATE_STORE: 'postgres://mandate@db/mandate',
  MANDATE_MASTER_KEY: 'ab'.repeat(32),
  MANDATE_PEERS_SECRET: 'peers-test-secret-0000000000000001',
};

describe.skipIf(withoutGo !== '')(`several authorities${withoutGo}`, () => {
  test('each sends its records to all others, by addresses that nobody else answers at', async () => {
    const text = await rendered(three);
    const addresses = ['mandate-0', 'mandate-1', 'mandate-2'].map(
      (name) => `https://${name}.mandate-each.mandate-system.svc:7401`,
    );
    for (const [at, own] of addresses.entries()) {
      const name = `mandate-${at}`;
      const { set, env, text: config } = await podOf(text, name);
      expect(set.spec).toMatchObject({ replicas: 3, serviceName: 'mandate-each' });
      expect(env.sort()).toEqual([...Object.keys(GIVEN), 'MANDATE_NODE'].sort());
      const read = await configurationOf(config, { ...GIVEN, MANDATE_NODE: name });
      expect(read.node).toBe(name);
      expect((parse(config) as { node: string }).node).toBe(name);
      expect(read.store).toBe(GIVEN.MANDATE_STORE);
      expect(read.peersSecret).toBe(GIVEN.MANDATE_PEERS_SECRET);
      const peers = read.peers?.admin.map(({ origin }) => origin);
      expect(peers).toEqual(addresses.filter((each) => each !== own));
    }
    // No secret is in what anybody reads who may read the manifests.
    expect(text).not.toContain('postgres://');
  });

  test('a pod has an address of its own while it is not ready, and Prometheus asks it once', async () => {
    for (const values of [{}, three]) {
      const services = manifestsIn(await rendered(values)).filter(({ kind }) => kind === 'Service');
      const each = services.find(({ metadata }) => metadata.name === 'mandate-each');
      const common = services.find(({ metadata }) => metadata.name === 'mandate');
      expect(each?.spec).toMatchObject({ clusterIP: 'None', publishNotReadyAddresses: true });
      expect(each?.spec?.['selector']).toEqual(common?.spec?.['selector']);
      // By the labels that the ServiceMonitor looks for.
      expect(each?.metadata.labels).not.toMatchObject(common?.metadata.labels ?? {});
    }
  });

  test('they reach each other and PostgreSQL, and one alone reaches neither', async () => {
    const policyOf = (text: string) => manifestsIn(text).find(({ kind }) => kind === 'NetworkPolicy')?.spec;
    const text = await rendered({ ...three, networkPolicy: { data: [], admin: [], egress: [] } });
    const labels = manifestsIn(text).find(({ kind }) => kind === 'StatefulSet')?.metadata.labels;
    const others = [{ podSelector: { matchLabels: labels } }];
    const admin = [{ port: 'admin', protocol: 'TCP' }];
    expect(policyOf(text)?.['ingress']).toEqual([{ ports: admin, from: others }]);
    const { egress: [, ...egress] = [] } = (policyOf(text) ?? {}) as { egress?: object[] };
    expect(egress).toEqual([{ ports: admin, to: others }, { ports: [{ port: 6_432, protocol: 'TCP' }] }]);
    const alone = await rendered({ networkPolicy: { data: [], admin: [], egress: [] } });
    expect(policyOf(alone)?.['egress']).toHaveLength(1);
  });

  test('one alone is called as it was: its log goes on', async () => {
    const { env, text } = await podOf(await rendered({}), 'mandate-0');
    expect(env).toEqual([]);
    const { node, peers } = await configurationOf(text);
    expect({ node, peers }).toEqual({ node: 'main', peers: undefined });
  });
});

describe.skipIf(withoutGo !== '')(`deploy/kubernetes${withoutGo}`, () => {
  test.for(made)('%s is what the chart makes of %s ("make kubernetes")', async ([file, values]) => {
    const { stdout } = await manifests(['chart', chart, values]);
    const text = await textOf(file);
    expect(text.split('\n').slice(1).join('\n')).toBe(stdout);
  });

  test.for(served)('%s is what Kubernetes takes, and a slip of the pen is not', async (file) => {
    const text = await textOf(file);
    expect(await manifests(['check'], text)).toMatchObject({ code: 0, stderr: '' });
    for (const [right, wrong] of [
      ['readOnlyRootFilesystem', 'readonlyRootFilesystem'],
      ['replicas: 1', 'replicas: one'],
      ['replicas: 2', 'replicas: two'],
      ['replicas: 3', 'replicas: three'],
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
