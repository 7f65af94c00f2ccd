/** A repository as it was written for OPA: packages, an input and data of its own, and what Mandate needs beside. */

export const AUTHZ = `package shop.authz

import data.shop.roles

default allow := {"allow": false, "reasons": ["no_role_has_it"]}

allow := {"allow": true, "obligations": [{"type": "log", "level": data.shop.settings.level}]} if {
	some role in input.user.roles
	[input.method, input.path[0]] in roles.permits(role)
	count(closed) == 0
}

allow := {"allow": false, "deny": closed} if count(closed) > 0

closed contains {"code": "shop_closed", "message": "nobody buys at night"} if input.path[0] == "night"
`;

export const ROLES = `package shop.roles

permits(role) := data.shop.permissions[role]
`;

export const MAPPING = `package mapping

asked := {
	"user": {"name": input.subject.id, "roles": input.subject.roles},
	"method": input.action.name,
	"path": split(input.resource.id, "/"),
}
`;

export const DATA = { permissions: { buyer: [['GET', 'orders']] }, settings: { level: 'info' } };

export const TABLE = `tests:
  - name: a buyer reads orders
    subject: user:ann
    action: GET
    resource: path:orders/1
    expect: allow
    obligations: [{ type: log, level: info }]
  - name: nobody else does
    subject: user:ben
    action: GET
    resource: path:orders/1
    expect: deny
    reasons: [not_allowed, no_role_has_it]
  - name: a deny has its reason
    subject: user:ann
    action: GET
    resource: path:night
    expect: deny
    reasons: [shop_closed]
  - name: nobody who is disabled
    subject: user:eve
    action: GET
    resource: path:orders/1
    expect: deny
    reasons: [principal_disabled]
`;

/** Of its own, as `opa test` runs them. */
export const REGO_TEST = `package shop.authz_test

import data.shop.authz

test_buyer if authz.allow.allow with input as {"user": {"roles": ["buyer"]}, "method": "GET", "path": ["orders"]}

test_nobody if not authz.allow.allow with input as {"user": {"roles": []}, "method": "GET", "path": ["orders"]}
`;

export const MANIFEST = {
  id: 'shop',
  decision: 'data.shop.authz.allow',
  principals: [
    { class: 'user', id: 'ann', roles: ['buyer'] },
    { class: 'user', id: 'ben' },
    { class: 'user', id: 'eve', roles: ['buyer'], status: 'disabled' },
    { class: 'agent', id: 'bot' },
  ],
};

export const FILES = {
  'authz.rego': AUTHZ,
  'roles.rego': ROLES,
  'mapping.rego': MAPPING,
  'authz_test.rego': REGO_TEST,
  'requests_test.yaml': TABLE,
  'shop/data.json': JSON.stringify(DATA),
};
