package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/pgscope/pgscope-proxy/proxy/wire"
	"github.com/pgscope/pgscope-proxy/rewrite"
	"github.com/pgscope/pgscope-proxy/scope"
)

// roleFunctions are the functions of PostgreSQL 14 to 18 that take the name of a role, or a text with one in it. Their OIDs
// are fixed (src/include/catalog/pg_proc.dat).
var roleFunctions = map[uint32]string{
	1031: "aclitemin",
	1922: "has_table_privilege", 1923: "has_table_privilege",
	2078: "set_config",
	2181: "has_sequence_privilege", 2182: "has_sequence_privilege",
	2250: "has_database_privilege", 2251: "has_database_privilege",
	2256: "has_function_privilege", 2257: "has_function_privilege",
	2262: "has_language_privilege", 2263: "has_language_privilege",
	2268: "has_schema_privilege", 2269: "has_schema_privilege",
	2390: "has_tablespace_privilege", 2391: "has_tablespace_privilege",
	2705: "pg_has_role", 2706: "pg_has_role", 2707: "pg_has_role", 2709: "pg_has_role",
	3000: "has_foreign_data_wrapper_privilege", 3001: "has_foreign_data_wrapper_privilege",
	3006: "has_server_privilege", 3007: "has_server_privilege",
	3012: "has_column_privilege", 3013: "has_column_privilege", 3014: "has_column_privilege", 3015: "has_column_privilege",
	3024: "has_any_column_privilege", 3025: "has_any_column_privilege",
	3138: "has_type_privilege", 3139: "has_type_privilege",
	3954: "pg_get_object_address",
	4093: "to_regrole",
	4098: "regrolein",
	6205: "has_parameter_privilege",   // 15
	6348: "has_largeobject_privilege", // 18
}

// call decides about a function call by OID (the protocol's FunctionCall, which libpq uses for large objects). Its
// arguments are not mapped; so a function that would take a role's name in them is refused, as a statement is.
func (e *Engine) call(body []byte, out *Out) (verdict, error) {
	if len(body) < 4 {
		return drop, protocolViolation("invalid message length", wire.FunctionCall)
	}
	name, takesRole := roleFunctions[binary.BigEndian.Uint32(body)]
	if !takesRole {
		e.pending.push(readyCall, nil)
		return pass, nil
	}
	e.refuse(statement{typ: wire.Query}, rewrite.Unshown, &rewrite.Error{Error: scope.Error{
		Code:    scope.CodeFeatureNotSupported,
		Message: fmt.Sprintf(`function "%s" cannot be called by its OID`, name),
		Hint:    "Call it in a SELECT.",
	}}, out)
	return drop, nil
}
