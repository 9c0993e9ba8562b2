CREATE ROLE "Reader";
CREATE ROLE READER;
CREATE ROLE U&"r\00f4le";
CREATE ROLE U&"z!0031" UESCAPE '!';
CREATE ROLE /* a */ commented -- b
  NOLOGIN;
CREATE ROLE authorization;
CREATE ROLE "current_user";
GRANT "Reader" TO READER, "rôle", z1, commented, authorization;
GRANT "current_user" TO current_user;
SET ROLE 'reader';
SET ROLE "Reader";
SET ROLE TO E'r\u00f4le';
SET role = $$z1$$;
SET "role" TO commented;
SET SESSION ROLE NONE;
RESET ROLE;
DROP ROLE "Reader", reader, "rôle", z1, commented, authorization, "current_user";
