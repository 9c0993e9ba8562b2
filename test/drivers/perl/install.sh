perl -MDBD::Pg -e 1
