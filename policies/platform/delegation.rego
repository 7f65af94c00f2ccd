# The entry point mandate/delegation: guardrails and the tenant's package delegation, combined.
# Any deny wins, then a challenge, then allow; what is undefined or not a boolean is a deny.
# Each branch gives only what it decided by: a result costs time to build, to write out and to read.
package mandate.delegate

import data.mandate.guardrails

result := {"outcome": "deny", "guarded": guarded, "denied": denied, "obligations": obligations, "reasons": reasons} if {
	count(guarded) + count(denied) > 0
} else := {"outcome": "challenge", "challenge": data.delegation.challenge, "obligations": obligations, "reasons": reasons} if {
	is_object(data.delegation.challenge)
	count(data.delegation.challenge) > 0
} else := {"outcome": "allow", "limits": limits, "obligations": obligations, "reasons": reasons} if {
	data.delegation.allow == true
} else := {"outcome": "deny", "obligations": obligations, "reasons": reasons} if {
	is_boolean(data.delegation.allow)
} else := {"outcome": "deny", "undefined": true, "obligations": obligations, "reasons": reasons}

guarded := guardrails.denials

denied contains reason if some reason in data.delegation.deny

# A deny that is neither a set nor an array, nor plainly false, was meant to deny something.
denied contains "deny_malformed" if {
	deny := data.delegation.deny
	not is_set(deny)
	not is_array(deny)
	deny != false
}

reasons contains reason if some reason in data.delegation.reasons

obligations contains obligation if some obligation in data.delegation.obligations

# What the grant is narrowed to. Whatever stands here is read where the grant is made, and what cannot be read there denies.
default limits := {}

limits := data.delegation.limits
