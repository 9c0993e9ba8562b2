package scope

// Error is an error for a client in PostgreSQL's own shape: the fields of an ErrorResponse that say what is wrong and
// what to do. It never holds a secret.
type Error struct {
	Code    string // SQLSTATE, five characters; the constants below carry the names of PostgreSQL's appendix A
	Message string // one line, in the server's own words where it has them
	Detail  string // optional
	Hint    string // optional: what the reader can do
}

func (e *Error) Error() string { return e.Message }

// The SQLSTATEs that this project raises by itself.
const (
	CodeUndefinedObject      = "42704" // undefined_object: a role does not exist
	CodeDuplicateObject      = "42710" // duplicate_object: a role exists
	CodeUndefinedDatabase    = "3D000" // invalid_catalog_name: a database does not exist
	CodeUndefinedSchema      = "3F000" // invalid_schema_name: a schema does not exist
	CodeNameTooLong          = "42622" // name_too_long
	CodeReservedName         = "42939" // reserved_name
	CodeInsufficientPriv     = "42501" // insufficient_privilege: refused by policy
	CodeInvalidParameter     = "22023" // invalid_parameter_value
	CodeFeatureNotSupported  = "0A000" // feature_not_supported: not understood, so not forwarded
	CodeProtocolViolation    = "08P01" // protocol_violation
	CodeConnectionFailure    = "08006" // connection_failure: the server went away
	CodeCannotConnect        = "08001" // sqlclient_unable_to_establish_sqlconnection
	CodeInvalidAuthorization = "28000" // invalid_authorization_specification
	CodeAdminShutdown        = "57P01" // admin_shutdown
	CodeObjectNotInState     = "55000" // object_not_in_prerequisite_state
	CodeTooManyConnections   = "53300" // too_many_connections
	CodeSerializationFailure = "40001" // serialization_failure: a retry helps
	CodeProgramLimitExceeded = "54000" // program_limit_exceeded
)
