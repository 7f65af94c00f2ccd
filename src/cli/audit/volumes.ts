import { timestampDate, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import { systemClock } from '../../effects.ts';
import { AuditService, type Volume } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printJson, printTable } from '../terminal/output.ts';
import { moment } from '../terminal/values.ts';
import { NODE } from './lines.ts';

interface Options {
  readonly tenant: string;
}

interface VolumesOptions extends Options {
  readonly make?: boolean;
  readonly node?: string;
}

export const volumesCommand = (): Command =>
  new Command('volumes')
    .description('say in which files the older records of a log are, and where they went')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option(
      '--make',
      'first put all full tiles (256 records) that the log has stated into volumes, whatever their age',
    )
    .addOption(new Option('--node <name>', NODE).conflicts('make'))
    .addHelpText('after', '\nExample:\n  $ mandate audit volumes -t acme\n')
    .action(async ({ tenant, make, node = '' }: VolumesOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(AuditService, 'admin', globals);
      if (make) await client.makeVolumes({ tenant });
      const { volumes, hold, holdCaller, holdTime } = await client.listVolumes({ tenant, node });
      const since = holdTime && timestampDate(holdTime).toISOString();
      if (globals.json)
        return printJson({
          volumes: volumes.map(asJson),
          hold: hold === undefined ? null : { reason: hold, caller: holdCaller, since },
        });
      printTable(['RECORDS', 'FROM', 'TO', 'KIB', 'STATE', 'SINCE', 'PLACE'], volumes.map(row));
      if (hold !== undefined) print(`held by ${holdCaller} since ${since}: ${hold}`);
    });

export const archiveCommand = (): Command =>
  new Command('archive')
    .description("move the volumes of a log to the server's archive")
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--older-than <age>', 'only where all records are older: an RFC 3339 time, or an age such as 90d')
    .addHelpText('after', '\nExample:\n  $ mandate audit archive -t acme --older-than 90d\n')
    .action(async ({ tenant, olderThan }: Options & { olderThan?: string }, command: Command) => {
      const globals = globalsOf(command);
      const before = olderThan === undefined ? undefined : moment(olderThan, systemClock());
      let count = 0;
      for await (const { volume } of clientOf(AuditService, 'admin', globals).archiveVolumes({
        tenant,
        ...(before === undefined ? {} : { olderThan: timestampFromMs(before) }),
      })) {
        if (!volume) continue;
        count += 1;
        if (globals.json) printJson(asJson(volume));
        else print(`records ${volume.first} to ${volume.last}: ${volume.place}`);
      }
      if (count === 0 && !globals.json) print('there was no volume to archive');
    });

export const holdCommand = (): Command =>
  new Command('hold')
    .description('keep retention from removing anything of a log')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--reason <text>', 'what for, such as the number of a case')
    .addHelpText('after', '\nExample:\n  $ mandate audit hold -t acme --reason "case 2026-114"\n')
    .action(async ({ tenant, reason }: Options & { reason: string }, command: Command) => {
      const globals = globalsOf(command);
      const { changed } = await clientOf(AuditService, 'admin', globals).holdLog({ tenant, reason });
      if (globals.json) printJson({ changed });
      else print(changed ? `the log of ${tenant} is held` : `the log of ${tenant} was held already`);
    });

export const releaseCommand = (): Command =>
  new Command('release')
    .description('let retention go on')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate audit release -t acme\n')
    .action(async ({ tenant }: Options, command: Command) => {
      const globals = globalsOf(command);
      const { changed } = await clientOf(AuditService, 'admin', globals).releaseLog({ tenant });
      if (globals.json) printJson({ changed });
      else print(changed ? `the log of ${tenant} is released` : `the log of ${tenant} was not held`);
    });

const timeOf = (volume: Volume, member: 'firstTime' | 'lastTime' | 'made' | 'stateTime'): string => {
  const time = volume[member];
  return time ? timestampDate(time).toISOString() : '';
};

const row = (volume: Volume): string[] => [
  `${volume.first}-${volume.last}`,
  timeOf(volume, 'firstTime'),
  timeOf(volume, 'lastTime'),
  String(Math.ceil(Number(volume.bytes) / 1024)),
  volume.state,
  timeOf(volume, volume.state === 'here' ? 'made' : 'stateTime'),
  volume.place,
];

const asJson = (volume: Volume) => ({
  first: Number(volume.first),
  last: Number(volume.last),
  bytes: Number(volume.bytes),
  sha256: volume.sha256,
  first_time: timeOf(volume, 'firstTime'),
  last_time: timeOf(volume, 'lastTime'),
  made: timeOf(volume, 'made'),
  state: volume.state,
  place: volume.place,
  state_time: timeOf(volume, 'stateTime'),
});
