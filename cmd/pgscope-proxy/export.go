package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/pgscope/pgscope-proxy/access"
	"github.com/pgscope/pgscope-proxy/manifest"
	"github.com/pgscope/pgscope-proxy/reconcile"
)

func newExportCommand() *cobra.Command {
	var dsn, mode, names, out string
	var all bool
	c := &cobra.Command{
		Use:     "export",
		Aliases: []string{"generate"},
		Short:   "Write the access in a database as a manifest",
		Long: "export writes a manifest of the access that a database has now: its plan is empty. Passwords are left out, and\n" +
			"what roles of other databases have here, which no manifest can say.\n" +
			"With --mode adopt, roles that carry the database's prefix and belong to no database are written as its own;\n" +
			"apply --mode adopt makes them so.\n" +
			"With --all it makes a folder: estate.yaml has what belongs to the whole cluster, databases/NAME.yaml what is\n" +
			"in each database.",
		Example: "  pgscope-proxy export --out now.yaml\n" +
			"  pgscope-proxy export --all --out cluster",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := reconcile.ParseMode(mode)
			if err != nil {
				return usageError(err)
			}
			s, ok := manifest.ParseScope(names)
			switch {
			case !ok:
				return usageError(fmt.Errorf("unknown scope %q: database or none", names))
			case all && out == "":
				return usageError(errors.New("--all makes a folder: --out says which"))
			case all && (m == reconcile.Adopt || s == manifest.None):
				return usageError(errors.New("--all is for roles that belong to their databases: adopt them first, one database after the other"))
			case all:
				return exportAll(cmd, dsn, m, out)
			}
			return withServer(cmd, dsn, func(ctx context.Context, conn *pgconn.PgConn) error {
				desired, err := reconcile.Export(ctx, conn, reconcile.ExportOptions{Mode: m, AsWritten: s == manifest.None})
				if err != nil {
					return err
				}
				write := func(w io.Writer) error { return manifest.Write(w, desired) }
				if out == "" {
					return write(cmd.OutOrStdout())
				}
				return writeNew(out, write)
			})
		},
	}
	addDSN(c, &dsn)
	addScope(c, &names)
	c.Flags().StringVar(&mode, "mode", reconcile.Authoritative.String(), "the `mode`: authoritative, or adopt for roles that carry the database's prefix")
	c.Flags().StringVar(&out, "out", "", "write it to this `file`, which must not exist; with --all a folder")
	c.Flags().BoolVar(&all, "all", false, "all databases, and what belongs to none: an estate")
	return c
}

// exportAll writes an estate and its manifests into a new folder.
func exportAll(cmd *cobra.Command, dsn string, mode reconcile.Mode, folder string) error {
	const databases = "databases"
	config, err := serverConfig(cmd, dsn)
	if err != nil {
		return err
	}
	var cluster *access.Desired
	var names []string
	err = withConn(cmd.Context(), config, func(ctx context.Context, conn *pgconn.PgConn) (err error) {
		if names, err = reconcile.Databases(ctx, conn); err == nil {
			cluster, err = reconcile.ExportCluster(ctx, conn)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range []string{folder, filepath.Join(folder, databases)} {
		if err := os.Mkdir(name, 0o700); err != nil {
			return err
		}
	}
	files := make([]manifest.DatabaseFile, len(names))
	for i, name := range names {
		config.Database = name
		err := withConn(cmd.Context(), config, func(ctx context.Context, conn *pgconn.PgConn) error {
			desired, err := reconcile.Export(ctx, conn, reconcile.ExportOptions{Mode: mode, Estate: true})
			if err != nil {
				return err
			}
			f := manifest.DatabaseFile{Name: name, Prefix: desired.Prefix, Path: path.Join(databases, url.PathEscape(name)+".yaml")}
			files[i] = f
			return writeNew(filepath.Join(folder, filepath.FromSlash(f.Path)), func(w io.Writer) error { return manifest.Write(w, desired) })
		})
		if err != nil {
			return fmt.Errorf("database %q: %w", name, err)
		}
	}
	return writeNew(filepath.Join(folder, "estate.yaml"), func(w io.Writer) error { return manifest.WriteEstate(w, cluster, files) })
}

// writeNew writes a file that must not exist.
func writeNew(name string, write func(io.Writer) error) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := write(file); err != nil {
		_ = file.Close() // the error that matters is known
		return err
	}
	return file.Close()
}
