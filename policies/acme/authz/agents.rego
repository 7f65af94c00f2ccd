# What agents may not do, whoever they act for.
package authz

import data.mandate.lib

# An agent may suggest, not act.
deny contains {"code": "agent_may_only_suggest", "message": "agents read and suggest; a person edits and deletes"} if {
	lib.acting.class == "agent"
	not input.action.name in {"document.read", "document.suggest"}
}

# Restricted documents stay with people.
deny contains {"code": "restricted_for_agents", "message": "restricted documents are not for agents"} if {
	lib.acting.class == "agent"
	input.resource.properties.sensitivity == "restricted"
}
