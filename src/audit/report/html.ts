import type { Report, Use } from './report.ts';

/** One page, that needs nothing else and prints well. Every name in it may be a caller's word. */
export function reportPage(report: Report): string {
  const { tenant, from, to, records } = report;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Access of ${escaped(tenant)}</title>
<style>${STYLE}</style>
<h1>Access of ${escaped(tenant)}</h1>
<p>${records} records from ${moment(from)} to ${moment(to)}.</p>
<h2>Decisions a day</h2>
${daysChart(report)}
<h2>Outcomes</h2>
${table(
  ['what', 'records'],
  report.outcomes.map(({ name, count }) => [name, count]),
)}
<h2>Denials by reason</h2>
${table(
  ['reason', 'denials'],
  report.denials.map(({ name, count }) => [name, count]),
  report.denials.map(({ count }) => count),
)}
<h2>Agents</h2>
${table(USE, report.agents.map(used))}
<h2>Grants</h2>
${table(
  ['grant', 'agent', 'for', 'made', 'allowed', 'denied', 'last used'],
  report.grants.map(({ name, actor, subject, made, allowed, denied, last }) => [
    name,
    actor,
    subject,
    made === undefined ? 'before' : moment(made),
    allowed,
    denied,
    last === 0 ? 'never' : moment(last),
  ]),
)}
<h2>Callers</h2>
${table(USE, report.callers.map(used))}
<h2>Not seen of late</h2>
${table(
  ['principal', 'last seen'],
  report.dormant.map(({ principal, last }) => [principal, moment(last)]),
)}
<h2>Not asked for of late</h2>
${table(
  ['principal', 'action', 'last'],
  report.unused.map(({ principal, action, last }) => [principal, action, moment(last)]),
)}
</html>
`;
}

const USE = ['who', 'allowed', 'denied', 'last'];
const used = ({ name, allowed, denied, last }: Use): (string | number)[] => [
  name,
  allowed,
  denied,
  moment(last),
];

const moment = (time: number): string =>
  time === 0 ? '-' : new Date(time).toISOString().replace('T', ' ').slice(0, 16);

const escaped = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  bars?: readonly number[],
): string {
  if (rows.length === 0) return '<p>None.</p>';
  const most = Math.max(1, ...(bars ?? []));
  const cells = (row: readonly (string | number)[], at: number): string => {
    const bar = bars ? `<td class="bar"><i style="width:${((bars[at] ?? 0) / most) * 100}%"></i></td>` : '';
    return `<tr>${row.map((cell) => `<td${typeof cell === 'number' ? ' class="n"' : ''}>${escaped(String(cell))}</td>`).join('')}${bar}</tr>`;
  };
  return `<table><thead><tr>${head.map((name) => `<th>${escaped(name)}</th>`).join('')}</tr></thead><tbody>${rows.map(cells).join('')}</tbody></table>`;
}

const [WIDTH, HEIGHT] = [800, 160];

function daysChart({ days }: Report): string {
  if (days.length === 0) return '<p>None.</p>';
  const most = Math.max(...days.map(({ allowed, denied }) => allowed + denied));
  const each = WIDTH / days.length;
  const bars = days.map(({ day, allowed, denied }, at) => {
    const [up, down] = [(allowed / most) * HEIGHT, (denied / most) * HEIGHT];
    const place = `x="${(at * each).toFixed(1)}" width="${Math.max(1, each - 1).toFixed(1)}"`;
    return `<g><title>${escaped(day)}: ${allowed} allowed, ${denied} denied</title><rect class="a" ${place} y="${(HEIGHT - up).toFixed(1)}" height="${up.toFixed(1)}"/><rect class="d" ${place} y="${(HEIGHT - up - down).toFixed(1)}" height="${down.toFixed(1)}"/></g>`;
  });
  const [first, last] = [days[0]?.day ?? '', days.at(-1)?.day ?? ''];
  return `<figure><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Decisions a day">${bars.join('')}</svg><figcaption>${escaped(first)} to ${escaped(last)}; most on a day: ${most}. Dark: denied.</figcaption></figure>`;
}

const STYLE = `
body{font:14px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem;break-after:avoid}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.2rem .6rem .2rem 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
tr{break-inside:avoid}td.n{text-align:right;font-variant-numeric:tabular-nums}
td.bar{width:40%}td.bar i{display:block;height:.7rem;background:#555}
figure{margin:0}svg{width:100%;height:auto}rect.a{fill:#9bb}rect.d{fill:#333}figcaption{color:#555}
@media print{body{margin:0;max-width:none}td.bar i,rect{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
`;
