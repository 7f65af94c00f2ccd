# The scenario of the benchmark, with the principal's attributes in the input.
package documents

default allow := false

allow if {
	permitted
	count(deny) == 0
}

permitted if {
	input.action == "document.read"
	reader
	readable
}

permitted if {
	input.action in {"document.edit", "document.share"}
	"editor" in input.principal.roles
	input.document.sensitivity != "restricted"
	same_department
}

permitted if input.document.owner == input.principal.id

deny contains "archived" if {
	input.action != "document.read"
	input.document.archived
}

deny contains "clearance" if {
	input.document.sensitivity == "restricted"
	input.principal.clearance < 3
}

reader if "viewer" in input.principal.roles

reader if "editor" in input.principal.roles

readable if input.document.sensitivity == "public"

readable if {
	input.document.sensitivity == "internal"
	same_department
}

readable if {
	input.document.sensitivity in {"confidential", "restricted"}
	same_department
	input.principal.clearance >= 2
}

same_department if input.document.department == input.principal.department
