# Who may do what with a document. A case each of role, group, ownership, project and sensitivity.
package authz

import data.mandate.lib

default allow := false

# Role and sensitivity: who reads at all reads what is public or internal.
allow if {
	input.action.name == "document.read"
	some role in {"reader", "editor", "auditor"}
	lib.has_role(role)
	input.resource.properties.sensitivity in {"public", "internal"}
}

# Project and clearance: confidential documents are for people of the project who are cleared for them.
allow if {
	input.action.name in {"document.read", "document.suggest"}
	input.resource.properties.sensitivity == "confidential"
	input.resource.properties.project in input.subject.properties.projects
	input.subject.properties.clearance >= 2
}

# Ownership: an owner edits and reads whatever its sensitivity, restricted included.
allow if {
	input.action.name in {"document.read", "document.edit", "document.suggest"}
	lib.owns_resource
}

# Project: an editor suggests and edits within the own projects.
allow if {
	input.action.name in {"document.suggest", "document.edit"}
	lib.has_role("editor")
	input.resource.properties.sensitivity in {"public", "internal"}
	input.resource.properties.project in input.subject.properties.projects
}

# Group: compliance reads everything.
allow if {
	input.action.name == "document.read"
	lib.in_group("compliance")
}

# Deleting is an owner's act, and needs a second factor: without it the answer is a challenge.
allow if {
	input.action.name == "document.delete"
	lib.owns_resource
	second_factor
}

challenge := {"type": "step_up", "acr_values": ["urn:acme:mfa"], "max_age": 600} if {
	input.action.name == "document.delete"
	lib.owns_resource
	not second_factor
}

# A service says so of its own session; of a token its issuer does, and not for ever.
second_factor if input.context.mfa == true

second_factor if {
	input.context.authentication.acr == "urn:acme:mfa"
	(time.now_ns() / 1000000000) - input.context.authentication.auth_time < 600
}

# Jobs: the nightly index reads all but what is restricted.
allow if {
	input.subject.class == "job"
	input.action.name == "document.index"
	input.resource.properties.sensitivity != "restricted"
}

# Whoever reads something confidential owes a watermark.
obligations contains {"type": "watermark", "text": input.subject.id} if {
	input.action.name == "document.read"
	input.resource.properties.sensitivity in {"confidential", "restricted"}
}
