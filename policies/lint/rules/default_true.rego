# METADATA
# description: What is allowed by default is allowed by whatever is forgotten
package custom.regal.rules.mandate["default-true"]

import data.regal.result

report contains violation if {
	some rule in input.rules
	input["package"].path[1].value in {"authz", "delegation", "approval"}
	rule["default"] == true
	rule.head.ref[0].value == "allow"
	rule.head.value.value == true
	violation := result.fail(rego.metadata.chain(), result.location(rule.head))
}
