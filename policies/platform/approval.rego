# The entry point mandate/approval: guardrails and the tenant's package approval, combined. The question is whether the
# approver may decide the request, whichever way. Any deny wins; what is undefined or not a boolean is a deny.
# It is compiled for tenants that have such a package.
package mandate.approve

result := {"outcome": "deny", "guarded": guarded, "denied": denied, "reasons": reasons} if {
	count(guarded) + count(denied) > 0
} else := {"outcome": "allow", "reasons": reasons} if {
	data.approval.allow == true
} else := {"outcome": "deny", "reasons": reasons} if {
	is_boolean(data.approval.allow)
} else := {"outcome": "deny", "undefined": true, "reasons": reasons}

guarded contains {"code": "approver_inactive", "message": "the approver is disabled, or not in the tenant's directory"} if {
	# Its input has a schema of its own, by which the other modules of the platform are not checked.
	object.get(input, ["approver", "status"], "unknown") != "active"
}

denied contains reason if some reason in data.approval.deny

# A deny that is neither a set nor an array, nor plainly false, was meant to deny something.
denied contains "deny_malformed" if {
	deny := data.approval.deny
	not is_set(deny)
	not is_array(deny)
	deny != false
}

reasons contains reason if some reason in data.approval.reasons
