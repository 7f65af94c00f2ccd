import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { aliceReads, check } from '../e2e/requests.ts';
import { eventually, type Running, startServer } from '../e2e/server.ts';
import { makeManifests, manifests, textOf, withoutGo } from './manifests.ts';

/** deploy/prometheus/alerts.yaml: as Prometheus reads it, and by the metrics of a server that runs. */

const file = 'deploy/prometheus/alerts.yaml';

/** Not of Mandate: of Prometheus and of the kubelet. */
const OTHERS = /^(up|kubelet_volume_stats_\w+)$/;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string };
}

const rules = (parse(await textOf(file)) as { groups: { rules: Rule[] }[] }).groups.flatMap(
  (group) => group.rules,
);

let server: Running;
beforeAll(async () => {
  server = await startServer({
    overrides: {
      sinks: [{ name: 'siem', http: { url: 'http://127.0.0.1:9/' } }],
    },
    acmeFiles: {
      'greedy.rego':
        'package authz\n\ndeny contains "never" if {\n\tinput.action.name == "greedy"\n\tcount([x | some x in numbers.range(1, 1000); some y in numbers.range(1, 100000); y > x]) < 0\n}\n',
    },
  });
  if (withoutGo === '') await makeManifests();
}, 600_000);
afterAll(() => server[Symbol.asyncDispose]());

const scraped = async (): Promise<string> => (await fetch(`${server.admin}/metrics`)).text();

/** Of one series; undefined where there is none. */
const valueOf = (text: string, series: string): number | undefined => {
  const line = text.split('\n').find((each) => each.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
};

describe.skipIf(withoutGo !== '')(`deploy/prometheus${withoutGo}`, () => {
  test('asks for metrics that a server has, in expressions that Prometheus takes', async () => {
    const { code, stdout, stderr } = await manifests(['rules', file]);
    expect(code, stderr).toBe(0);
    const asked = stdout.trim().split('\n');
    expect(asked.map((line) => line.split(' ')[0])).toEqual(rules.map(({ alert }) => alert));
    const text = await scraped();
    for (const line of asked) {
      const [alert, ...metrics] = line.split(' ');
      expect(metrics.length, alert).toBeGreaterThan(0);
      for (const metric of metrics)
        if (!OTHERS.test(metric))
          expect(text, `${alert}: ${metric}`).toMatch(new RegExp(`^# TYPE ${metric} `, 'm'));
    }
  });

  test('has its labels from the metrics that it asks for', async () => {
    const source = await textOf('docs/reference.md');
    for (const { alert, expr } of rules)
      for (const [, metric = '', label = ''] of expr.matchAll(/(mandate_\w+)\{(\w+)=/g)) {
        const row = source.split('\n').find((line) => line.startsWith(`| \`${metric}\``));
        expect(row, alert).toContain(`\`${label}\``);
      }
  });

  test('each is explained, and says how urgent it is', async () => {
    const page = await textOf('docs/operations.md');
    for (const { alert, labels, annotations } of rules) {
      expect(page, alert).toContain(`| \`${alert}\` | ${labels.severity} |`);
      expect(['page', 'ticket']).toContain(labels.severity);
      expect(annotations.summary.length).toBeGreaterThan(20);
    }
    const explained = [...page.matchAll(/^\| `(Mandate\w+)` \|/gm)].map(([, name]) => name);
    expect(explained).toEqual(rules.map(({ alert }) => alert));
  });
});

describe('what the rules ask for', () => {
  test('is there before anything has happened: a gauge that appears with its fault is no warning', async () => {
    const text = await scraped();
    expect(valueOf(text, 'mandate_ready')).toBe(1);
    expect(valueOf(text, 'mandate_state_age_seconds')).toBe(0);
    expect(valueOf(text, 'mandate_followers')).toBe(0);
    expect(text).toMatch(/^mandate_sink_failing\{sink="siem"\} [01]$/m);
  });

  test('counts a policy that fails, which is a deny', async () => {
    const greedy = { ...aliceReads, action: { name: 'greedy' } };
    const { body } = await check(server.data, greedy);
    expect(body).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code: 'deadline_exceeded' }] });
    const series = 'mandate_policy_failures_total{tenant="acme",code="deadline_exceeded"}';
    expect(valueOf(await scraped(), series)).toBe(1);
  });

  test('knows how long a log has grown without a checkpoint, and that it has one again', async () => {
    const lagOf = async (): Promise<number> =>
      valueOf(await scraped(), 'mandate_checkpoint_lag_seconds') ?? Number.NaN;
    await eventually(lagOf, (lag) => lag === 0);
    await check(server.data, aliceReads);
    const lag = await lagOf();
    expect(lag).toBeGreaterThan(0);
    expect(lag).toBeLessThan(60);
    await eventually(lagOf, (later) => later === 0);
  });

  test('says that a server is not ready when it is not', async () => {
    const { services } = server.mandate;
    const text = await services.metrics();
    expect(valueOf(text, 'mandate_ready')).toBe(1);
    await server.stop();
    expect(valueOf(await services.metrics(), 'mandate_ready')).toBe(0);
  });
});
