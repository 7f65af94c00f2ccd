# What no tenant's policy can allow. The platform's own rules, evaluated with every decision and delegation.
package mandate.guardrails

# True only where neither set below can have a member: somebody active asks in its own name, or with a grant that covers
# it. Most decisions, and it costs less to see than that two sets are empty.
clear if {
	input.subject.status == "active"
	count(input.actors) == 0
	is_null(input.grant)
}

clear if {
	input.subject.status == "active"
	is_object(input.grant)
	every actor in input.actors {
		actor.status == "active"
	}
	needed_scope in input.grant.scope
	of_use(needed_use)
}

needed_scope := object.get(data.mandate.tenant.actions, [input.action.name, "scope"], input.action.name)

needed_use := object.get(data.mandate.tenant.actions, [input.action.name, "use"], "act")

# Facts about a principal come from the directory alone: status is "unknown" where it has none.
denials contains {"code": "principal_unknown", "message": "the subject is not in the tenant's directory"} if {
	input.subject.status == "unknown"
}

denials contains {"code": "principal_disabled", "message": "the subject is disabled"} if {
	not input.subject.status in {"active", "unknown"}
}

# History acts no more (RFC 8693 section 4.1), yet a chain with a disabled link in it is not to be trusted.
denials contains {"code": "principal_disabled", "message": "an actor is disabled or gone"} if {
	some actor in input.actors
	actor.status != "active"
}

# Acting for somebody takes a grant.
denials contains {"code": "grant_required", "message": "acting on behalf of another takes a grant"} if {
	count(input.actors) > 0
	is_null(input.grant)
}

# A grant covers what its scopes cover: the tenant declares which scope an action takes, or the action is the scope.
# Only for decisions: an exchange asks for scopes, it does not use them.
acting_denials contains {"code": "scope_insufficient", "message": sprintf("the grant has no scope %s", [needed_scope]), "needed_scopes": [needed_scope]} if {
	is_object(input.grant)
	not needed_scope in input.grant.scope
}

# Nor beyond the grant's class of use: the tenant declares what an action is, and one of which it says nothing is acting.
acting_denials contains {"code": "use_insufficient", "message": sprintf("the action is to %s, the grant is to %s", [needed_use, object.get(input.grant, "use", "do nothing")])} if {
	is_object(input.grant)
	not of_use(needed_use)
}

rank := {"read": 0, "suggest": 1, "act": 2}

of_use(needed) if rank[needed] <= rank[input.grant.use]
