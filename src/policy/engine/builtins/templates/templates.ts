import { type BuiltinTable, object, text } from '../builtin.ts';
import { execute } from './executing.ts';
import { parseTemplates } from './parsing.ts';
import { dataOf } from './values.ts';

/** Go's text/template over data that has no methods, as OPA has it. */
export const templateBuiltins: BuiltinTable = {
  'strings.render_template': ([source, data], context) => {
    const variables = dataOf(object(data), context);
    const rendered = execute(parseTemplates(text(source), context), variables, context);
    return rendered.replaceAll('<no value>', '<undefined>');
  },
};
