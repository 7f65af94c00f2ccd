# The entry point mandate/audit: what the tenant's package audit keeps out of a record, which is the input here.
# It is compiled for tenants that have such a package.
package mandate.keep

result := {"malformed": true} if {
	malformed
} else := {"mask": mask, "detail": detail}

mask contains each if some each in data.audit.mask

default detail := "full"

detail := data.audit.detail

# A mask that is neither a set nor an array was meant to keep something out.
malformed if {
	mask := data.audit.mask
	not is_set(mask)
	not is_array(mask)
}
