import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Subscribes to what the core publishes; answers the Prometheus text. */
export function createMetrics(options: {
  /** Beyond this many tenants the rest are counted together: a label set is never as large as a customer list. */
  tenantLabels: number;
  waiting: () => number;
  open: () => number;
  tenants: () => number;
  degraded: () => number;
  bundlesStale: () => number;
  threadAnswers: () => number;
  threads: () => number;
  /** Threads that accept connections, what they have decided, and what they have handed to main. */
  accepting: () => { readonly threads: number; readonly decided: number; readonly handed: number };
  disputes: () => number;
  /** 1 while something is wrong with the keeping of logs. */
  keeping: () => number;
  /** 1 while requests can be answered. */
  ready: () => number;
  /** For how long logs have grown without a checkpoint that says so, in seconds. */
  unstated: () => number;
  /** For how long nothing is known of what may have changed, in seconds; 0 of a server by itself. */
  stateAge: () => number;
  /** Sidecars that follow this server. */
  followers: () => number;
  /** Each authority that records are sent to. */
  shipping: () => readonly {
    readonly address: string;
    readonly lag: number;
    readonly shipped: number;
    readonly yields: boolean;
    readonly problem: string;
    readonly refused: readonly string[];
  }[];
  /** Each sink: records that wait for it, and that it took since the start. */
  sinks: () => readonly {
    readonly name: string;
    readonly lag: number;
    readonly delivered: number;
    readonly problem: string;
  }[];
}): {
  readonly text: () => Promise<string>;
} & Disposable {
  const registers = [new Registry()];
  const [registry] = registers;
  if (registry) collectDefaultMetrics({ register: registry });
  const decisions = new Counter({
    name: 'mandate_decisions_total',
    help: 'Decisions answered, their records durable.',
    labelNames: ['tenant', 'outcome'],
    registers,
  });
  const fuel = new Histogram({
    name: 'mandate_decision_fuel',
    help: 'Fuel spent by evaluations.',
    buckets: [1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7],
    registers,
  });
  const exchanges = new Counter({
    name: 'mandate_exchanges_total',
    help: 'Token exchanges.',
    labelNames: ['tenant', 'outcome'],
    registers,
  });
  const kills = new Counter({
    name: 'mandate_kills_total',
    help: 'Kill switches pressed, durably.',
    labelNames: ['tenant', 'what'],
    registers,
  });
  const leases = new Counter({
    name: 'mandate_leases_total',
    help: 'Parts of meters that are counted elsewhere, by what became of them.',
    labelNames: ['tenant', 'what'],
    registers,
  });
  const maskFailures = new Counter({
    name: 'mandate_mask_failures_total',
    help: 'Records that all was kept out of, as a package audit failed.',
    labelNames: ['tenant'],
    registers,
  });
  const policyFailures = new Counter({
    name: 'mandate_policy_failures_total',
    help: "Evaluations that failed by the policy's own fault, and were denied.",
    labelNames: ['tenant', 'code'],
    registers,
  });
  const errors = new Counter({
    name: 'mandate_errors_total',
    help: 'Errors that callers were told of, by their stable code.',
    labelNames: ['code'],
    registers,
  });
  const pulls = new Counter({
    name: 'mandate_bundle_pulls_total',
    help: 'Looks at where bundles are pulled from, by what came of them.',
    labelNames: ['tenant', 'outcome'],
    registers,
  });
  const ended = new Counter({
    name: 'mandate_http2_ended_total',
    help: 'HTTP/2 connections that were ended for a fault of their peer.',
    labelNames: ['code'],
    registers,
  });
  const commits = new Histogram({
    name: 'mandate_commit_records',
    help: 'Entries in one durable commit.',
    buckets: [1, 3, 10, 30, 100, 300, 1000, 3000],
    registers,
  });
  const gauges = {
    mandate_records_waiting: ['Entries that wait for the next commit.', options.waiting],
    mandate_decisions_open: ['Decisions under way.', options.open],
    mandate_tenants: ['Tenants served.', options.tenants],
    mandate_thread_answers: ['Calls that the decision threads have answered.', options.threadAnswers],
    mandate_decision_threads: ['Decision threads that can be asked.', options.threads],
    mandate_accepting_threads: [
      'Threads that accept connections of the data plane.',
      () => options.accepting().threads,
    ],
    mandate_accepting_decided: [
      'Decisions that the threads which accept connections have made.',
      () => options.accepting().decided,
    ],
    mandate_accepting_handed: [
      'Checks that they have handed over instead.',
      () => options.accepting().handed,
    ],
    mandate_logs_disputed: ['Logs of which a witness has seen another one.', options.disputes],
    mandate_keeping_failing: ['Whether volumes cannot be made, archived or removed.', options.keeping],
    mandate_bundles_stale: [
      'Tenants whose policy is not known to be what stands at their bundle.',
      options.bundlesStale,
    ],
    mandate_tenants_degraded: ['Tenants whose policy keeps failing.', options.degraded],
    mandate_ready: ['Whether requests can be answered.', options.ready],
    mandate_checkpoint_lag_seconds: [
      'For how long logs have grown without a checkpoint that says so.',
      options.unstated,
    ],
    mandate_state_age_seconds: ['How old what is known of the other servers is.', options.stateAge],
    mandate_followers: ['Sidecars that follow this server.', options.followers],
  } as const;
  for (const [name, [help, value]] of Object.entries(gauges))
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });

  const ofSinks = {
    mandate_sink_lag_records: ['Records that are durable and not delivered.', 'lag'],
    mandate_sink_delivered_records: ['Records delivered since the start.', 'delivered'],
  } as const;
  for (const [name, [help, member]] of Object.entries(ofSinks))
    new Gauge({
      name,
      help,
      labelNames: ['sink'],
      registers,
      collect() {
        for (const sink of options.sinks()) this.set({ sink: sink.name }, sink[member]);
      },
    });
  new Gauge({
    name: 'mandate_sink_failing',
    help: 'Whether the last attempt to deliver failed.',
    labelNames: ['sink'],
    registers,
    collect() {
      for (const { name, problem } of options.sinks()) this.set({ sink: name }, problem === '' ? 0 : 1);
    },
  });

  const ofShipping = {
    mandate_shipping_lag_records: ['Records that are durable here and not known to be so there.', 'lag'],
    mandate_shipping_shipped_records: ['Records sent since the start.', 'shipped'],
  } as const;
  for (const [name, [help, member]] of Object.entries(ofShipping))
    new Gauge({
      name,
      help,
      labelNames: ['authority'],
      registers,
      collect() {
        for (const each of options.shipping()) this.set({ authority: each.address }, each[member]);
      },
    });
  new Gauge({
    name: 'mandate_shipping_yields',
    help: 'Whether records wait because this server has no time left.',
    labelNames: ['authority'],
    registers,
    collect() {
      for (const { address, yields } of options.shipping()) this.set({ authority: address }, yields ? 1 : 0);
    },
  });
  new Gauge({
    name: 'mandate_shipping_failing',
    help: 'Whether the authority cannot be reached, or does not take a log.',
    labelNames: ['authority'],
    registers,
    collect() {
      for (const { address, problem, refused } of options.shipping())
        this.set({ authority: address }, problem === '' && refused.length === 0 ? 0 : 1);
    },
  });
  const received = new Counter({
    name: 'mandate_received_records_total',
    help: "Records of other servers' logs that were kept.",
    labelNames: ['tenant'],
    registers,
  });
  const refusedLogs = new Counter({
    name: 'mandate_received_refused_total',
    help: "Parts of other servers' logs that did not fit, and were refused.",
    labelNames: ['tenant'],
    registers,
  });

  const labels = new Map<string, string>();
  const labelOf = (tenant: string): string => {
    const known = labels.get(tenant);
    if (known) return known;
    if (labels.size >= options.tenantLabels) return 'other';
    labels.set(tenant, tenant);
    return tenant;
  };
  // Looking a child up by its labels costs more than counting, so each is looked up once.
  const children = new Map<string, { inc: () => void }>();
  const decided = (tenant: string, outcome: string): { inc: () => void } => {
    const key = `${tenant} ${outcome}`;
    const known = children.get(key);
    if (known) return known;
    const child = decisions.labels(labelOf(tenant), outcome);
    if (labels.has(tenant)) children.set(key, child);
    return child;
  };

  const listeners: [string, (message: unknown) => void][] = [
    [
      'mandate:decision',
      (message) => {
        const { tenant, outcome, cost } = message as { tenant: string; outcome: string; cost: number };
        decided(tenant, outcome).inc();
        fuel.observe(cost);
      },
    ],
    [
      'mandate:exchange',
      (message) => {
        const { tenant, outcome } = message as { tenant: string; outcome: string };
        exchanges.inc({ tenant: labelOf(tenant), outcome });
      },
    ],
    [
      'mandate:kill',
      (message) => {
        const { tenant, what } = message as { tenant: string; what: string };
        kills.inc({ tenant: labelOf(tenant), what });
      },
    ],
    [
      'mandate:lease',
      (message) => {
        const { tenant, what, count } = message as { tenant: string; what: string; count: number };
        leases.inc({ tenant: labelOf(tenant), what }, count);
      },
    ],
    [
      'mandate:log.received',
      (message) => {
        const { tenant, entries, refusal } = message as { tenant: string; entries: number; refusal: string };
        if (refusal === '') received.inc({ tenant: labelOf(tenant) }, entries);
        else refusedLogs.inc({ tenant: labelOf(tenant) });
      },
    ],
    [
      'mandate:mask.failed',
      (message) => maskFailures.inc({ tenant: labelOf((message as { tenant: string }).tenant) }),
    ],
    [
      'mandate:bundle.pulled',
      (message) => {
        const { tenant, outcome } = message as { tenant: string; outcome: string };
        pulls.inc({ tenant: labelOf(tenant), outcome });
      },
    ],
    [
      'mandate:policy.failed',
      (message) => {
        const { tenant, code } = message as { tenant: string; code: string };
        policyFailures.inc({ tenant: labelOf(tenant), code });
      },
    ],
    ['mandate:error', (message) => errors.inc({ code: (message as { error: { code: string } }).error.code })],
    ['mandate:transport', (message) => ended.inc({ code: (message as { code: string }).code })],
    ['mandate:commit', (message) => commits.observe((message as { entries: number }).entries)],
  ];
  for (const [name, listener] of listeners) subscribe(name, listener);
  return {
    text: async () => (await registry?.metrics()) ?? '',
    [Symbol.dispose]: () => {
      for (const [name, listener] of listeners) unsubscribe(name, listener);
    },
  };
}
