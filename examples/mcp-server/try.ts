import { Agent } from './agent.ts';

/** An agent that works with the server: what README.md shows. */

const {
  MANDATE_ISSUER: issuer = 'http://127.0.0.1:7400/t/acme',
  SERVER_URL: audience = 'http://127.0.0.1:7500/mcp',
  AGENT_ID: clientId = '',
  AGENT_SECRET: clientSecret = '',
  USER_TOKEN = '',
} = process.env;

const say = (what: string, text: string): void => void process.stdout.write(`${what.padEnd(8)}${text}\n`);

const agent = new Agent({
  issuer,
  clientId,
  clientSecret,
  audience,
  most: 'docs.read docs.suggest',
  scope: 'docs.read',
});
await agent.open(USER_TOKEN, 'look after the roadmap');
const client = await agent.connect(new URL(audience));
const list = async (): Promise<void> => {
  const { tools } = await client.listTools();
  say('sees', tools.map(({ name }) => name).join(', '));
};
const call = async (name: string, input: Record<string, string>): Promise<void> => {
  const { content } = await agent.call(client, name, input);
  say('calls', `${name}: ${content.map((each) => (each.type === 'text' ? each.text : each.type)).join(' ')}`);
};
await list();
await call('read_document', { id: 'roadmap' });
await call('read_document', { id: 'salaries' });
await call('suggest_change', { id: 'roadmap', text: 'Ship it well.' });
await list();
await client.close();
