# What is published is read by everybody: its owner asks, and somebody else approves it first.
package authz

import data.mandate.lib

challenge := {"type": "approval", "template": "compliance", "valid_for": 600} if {
	publishes
	not input.approval
}

allow if {
	publishes
	input.approval
}

publishes if {
	input.action.name == "document.publish"
	lib.owns_resource
}
