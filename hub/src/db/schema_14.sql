-- Whom a cap keeps out of which site, so that nobody has to look through all who are in to find out.
CREATE INDEX members_kept_out ON members (org, scope, rule) WHERE standing = 2;
