# The entry point mandate/decision: guardrails and the tenant's package authz, combined.
# Any deny wins, then a challenge, then allow; what is undefined or not a boolean is a deny.
# Each branch gives only what it decided by: a result costs time to build, to write out and to read.
package mandate.decide

import data.mandate.guardrails

result := "allow" if {
	settled
	data.authz.allow == true
} else := "deny" if {
	settled
	is_boolean(data.authz.allow)
} else := {"outcome": "deny", "guarded": guarded, "denied": denied, "obligations": obligations, "reasons": reasons} if {
	count(guarded) + count(denied) > 0
} else := {"outcome": "challenge", "challenge": data.authz.challenge, "obligations": obligations, "reasons": reasons} if {
	challenges
} else := {"outcome": "allow", "obligations": obligations, "reasons": reasons} if {
	data.authz.allow == true
} else := {"outcome": "deny", "obligations": obligations, "reasons": reasons} if {
	is_boolean(data.authz.allow)
} else := {"outcome": "deny", "undefined": true, "obligations": obligations, "reasons": reasons}

# Only allow is left to decide by, and there is nothing to explain: most decisions, so they build no sets to find out.
settled if {
	guardrails.clear
	not denies
	not challenges
	not explains
}

denies if some _ in data.authz.deny

denies if malformed

challenges if {
	is_object(data.authz.challenge)
	count(data.authz.challenge) > 0
}

explains if some _ in data.authz.reasons

explains if some _ in data.authz.obligations

guarded := set() if {
	guardrails.clear
} else := guardrails.denials | guardrails.acting_denials

denied contains reason if some reason in data.authz.deny

# A deny that is neither a set nor an array, nor plainly false, was meant to deny something.
denied contains "deny_malformed" if malformed

malformed if {
	deny := data.authz.deny
	not is_set(deny)
	not is_array(deny)
	deny != false
}

reasons contains reason if some reason in data.authz.reasons

obligations contains obligation if some obligation in data.authz.obligations
