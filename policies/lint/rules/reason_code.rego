# METADATA
# description: The code of a reason is lower snake case, as those of the platform are
package custom.regal.rules.mandate["reason-code"]

import data.regal.result

report contains violation if {
	some code in codes
	not regex.match(`^[a-z][a-z0-9_]*$`, code.value)
	violation := result.fail(rego.metadata.chain(), result.location(code))
}

codes contains rule.head.key if {
	some rule in said
	rule.head.key.type == "string"
}

codes contains code if {
	some rule in said
	rule.head.key.type == "object"
	some [name, code] in rule.head.key.value
	name.value == "code"
	code.type == "string"
}

said contains rule if {
	some rule in input.rules
	input["package"].path[1].value in {"authz", "delegation"}
	rule.head.ref[0].value in {"deny", "reasons"}
}
