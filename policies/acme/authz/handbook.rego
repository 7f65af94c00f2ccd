# The handbook as a web site: Envoy asks with a path (deploy/envoy.yaml), where a service asks with a document.
package authz

import data.mandate.lib

# It is public within the company: who reads at all reads it, and so may an agent for them.
allow if {
	input.action.name == "document.read"
	input.resource.type == "http"
	startswith(input.resource.id, "/handbook/")
	some role in {"reader", "editor", "auditor"}
	lib.has_role(role)
}
