# The scenario of the benchmark. peers/opa/document.rego and peers/cerbos/document.yaml say the same.
package authz

import data.mandate.lib

default allow := false

allow if {
	input.action.name == "document.read"
	reader
	readable
}

allow if {
	input.action.name in {"document.edit", "document.share"}
	lib.has_role("editor")
	input.resource.properties.sensitivity != "restricted"
	same_department
}

allow if lib.owns_resource

deny contains "archived" if {
	input.action.name != "document.read"
	input.resource.properties.archived
}

deny contains "clearance" if {
	input.resource.properties.sensitivity == "restricted"
	input.subject.properties.clearance < 3
}

reader if lib.has_role("viewer")

reader if lib.has_role("editor")

readable if input.resource.properties.sensitivity == "public"

readable if {
	input.resource.properties.sensitivity == "internal"
	same_department
}

readable if {
	input.resource.properties.sensitivity in {"confidential", "restricted"}
	same_department
	input.subject.properties.clearance >= 2
}

same_department if input.resource.properties.department == input.subject.properties.department
